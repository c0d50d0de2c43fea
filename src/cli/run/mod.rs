//! `portclaim run`: gives a command its ports, and becomes it.

use std::ffi::OsString;
use std::net::TcpListener;
use std::process::Command;

use portclaim::{
    Availability, Claim, Holder, Lease, Port, ProjectPath, Registry, Request, Running, Start,
};

use super::allocate::{Wanted, claim};
use super::args::RunArgs;
use super::program;
use super::report::{Failure, warning};
use super::settings::Settings;
use super::stranger::{is_in_use, stranger};
use super::target::Holders;
use super::text::escape;
use super::variables::{Given, variable_name};

mod arguments;
mod environment;
mod sockets;
mod supervise;

use environment::{Named, is_variable};

/// What holds a port while the command runs.
enum Hold {
    Claim(Claim, Running),
    Lease(Lease),
}

impl Hold {
    fn port(&self) -> Port {
        match self {
            Hold::Claim(claim, _) => claim.port(),
            Hold::Lease(lease) => lease.port(),
        }
    }

    /// Lets the command hold it.
    fn share(&mut self) -> Result<(), Failure> {
        // What is not shared ends here: `portclaim stress` must find it.
        if cfg!(portclaim_mutant = "unshared") {
            return Ok(());
        }
        match self {
            Hold::Claim(_, running) => running.share()?,
            Hold::Lease(lease) => lease.share()?,
        }
        Ok(())
    }
}

/// A service of the run, with its port.
struct Service {
    holder: Holder,
    hold: Hold,
    socket: Option<TcpListener>,
}

/// Does not return where the command runs: this process is the command then, or ends as it did.
/// `tell` is called before.
pub(super) fn run(
    settings: &Settings,
    registry: &Registry,
    args: &RunArgs,
    tell: impl FnOnce(),
) -> Result<u8, Failure> {
    let mut holders = Holders::of_project(settings, args.project.as_deref())?;
    let project = holders.project.clone();
    let services = if args.services.is_empty() {
        &holders.config.services
    } else {
        &args.services
    };
    let named = named(&project, services)?;
    let holder = |one: &Named| match one.service.as_str() {
        "" => Ok(Holder::new(project.clone())),
        service => Holder::of_service(project.clone(), service),
    };
    holders.all = named.iter().map(holder).collect::<Result<_, _>>()?;
    let [name, arguments @ ..] = args.command.as_slice() else {
        return Err(Failure::new("no command is named"));
    };
    // Looked for first: what cannot be started leaves no claim behind.
    let program = program::find(name)?;
    let mut services = hold(settings, registry, args, &holders)?;
    let given: Vec<Given> = services.iter().map(Service::given).collect();
    let arguments = arguments.iter();
    let arguments = arguments
        .map(|argument| arguments::substitute(argument, &given))
        .collect::<Result<Vec<OsString>, _>>()?;
    let mut command = Command::new(program);
    command.args(arguments);
    environment::set(&mut command, &project, &given, &named, args.socket);
    for service in &mut services {
        service.hold.share()?;
    }
    if args.socket {
        command = sockets::hand_over(command, &services, args.supervise)?;
    }
    tell();
    if args.supervise {
        return supervise::run(command, name);
    }
    Err(program::become_it(command, name))
}

/// Reads `NAME` and `NAME:VARIABLE`. Without any, it is the unnamed service.
fn named(project: &ProjectPath, services: &[String]) -> Result<Vec<Named>, Failure> {
    let mut named: Vec<Named> = Vec::new();
    for text in services {
        let (service, variable) = match text.split_once(':') {
            Some((service, variable)) => (service, Some(variable.to_owned())),
            None => (text.as_str(), None),
        };
        // Asked here, before anything is looked for.
        Holder::of_service(project.clone(), service)?;
        if let Some(variable) = variable.as_deref().filter(|name| !is_variable(name)) {
            let variable = escape(variable);
            return Err(
                Failure::new(&format!("\"{variable}\" cannot be a variable"))
                    .hint("--service NAME:VARIABLE, of letters, digits and underscores"),
            );
        }
        let is_same = |one: &&Named| variable_name(&one.service) == variable_name(service);
        match named.iter().find(is_same) {
            Some(one) if one.service != service => {
                let name = variable_name(service);
                return Err(Failure::new(&format!(
                    "the services {} and {service} would both be the variable {name}",
                    one.service
                )));
            }
            _ => {}
        }
        if named.iter().all(|one| one.service != service) {
            named.push(Named {
                service: service.to_owned(),
                variable,
            });
        }
    }
    if named.is_empty() {
        named.push(Named {
            service: String::new(),
            variable: None,
        });
    }
    Ok(named)
}

/// Takes all ports. Where one cannot be had, those that are leased are given back.
fn hold(
    settings: &Settings,
    registry: &Registry,
    args: &RunArgs,
    holders: &Holders,
) -> Result<Vec<Service>, Failure> {
    let lease = |holder: &Holder| {
        let request = holders.automatic(settings, holder)?;
        lease(registry, &request, holder, args.socket)
    };
    if args.lease {
        return holders.all.iter().map(lease).collect();
    }
    let claims = claim(settings, registry, holders, &Wanted::default())?;
    let mut services = Vec::with_capacity(claims.len());
    for (holder, claim) in holders.all.iter().zip(claims) {
        services.push(match start(registry, claim, args.socket)? {
            Ok((hold, socket)) => Service {
                holder: holder.clone(),
                hold,
                socket,
            },
            Err(why) if args.fallback => {
                warning(&why, Some("it runs on another port this time"));
                lease(holder)?
            }
            Err(why) => {
                return Err(Failure::no(&why)
                    .hint("--fallback runs it on another port, for as long as it runs"));
            }
        });
    }
    Ok(services)
}

fn lease(
    registry: &Registry,
    request: &Request,
    holder: &Holder,
    with_socket: bool,
) -> Result<Service, Failure> {
    let lease = registry.lease(request)?;
    let socket = with_socket.then(|| lease.bind()).transpose()?;
    Ok(Service {
        holder: holder.clone(),
        hold: Hold::Lease(lease),
        socket,
    })
}

type Started = (Hold, Option<TcpListener>);

/// Says that the command runs on the port, and binds it if that is wanted. `Err` within says
/// who is there already.
fn start(
    registry: &Registry,
    claim: Claim,
    with_socket: bool,
) -> Result<Result<Started, String>, Failure> {
    let who = escape(&claim.record().holder().to_string()).into_owned();
    let running = match claim.start()? {
        Start::First(running) => running,
        Start::Second { pid } => {
            let pid = pid.map_or(String::new(), |pid| format!(" (pid {pid})"));
            return Ok(Err(format!(
                "{who} runs already, on port {}{pid}",
                claim.port()
            )));
        }
    };
    let socket = if with_socket {
        match claim.bind() {
            Ok(socket) => Some(socket),
            Err(error) if is_in_use(&error) => {
                return Ok(Err(stranger(registry, &claim, &who)?));
            }
            Err(error) => return Err(error.into()),
        }
    } else {
        let answer = portclaim::probe(claim.port())
            .map_err(|error| Failure::io("failed to look whether the port is free", &error))?;
        if answer == Availability::InUse {
            return Ok(Err(stranger(registry, &claim, &who)?));
        }
        None
    };
    Ok(Ok((Hold::Claim(claim, running), socket)))
}

impl Service {
    fn given(&self) -> Given {
        Given {
            service: self.holder.service().to_owned(),
            port: self.hold.port(),
        }
    }
}
