//! What must hold whatever the input is. The fuzz targets call these with theirs, `cargo test`
//! with the seeds in `corpus/`.

mod ground;
mod lines;
mod operations;
mod path;
mod record;
mod registry_directory;
mod registry_file;
mod take_over;

pub(crate) use operations::operations;
pub(crate) use path::path;
pub(crate) use record::record;
pub(crate) use registry_directory::registry_directory;
pub(crate) use registry_file::registry_file;
pub(crate) use take_over::take_over;
