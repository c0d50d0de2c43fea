//! Ports of known use: what listens on one of them is taken for something else, or not reached.

use portclaim::{Port, PortRange};

/// First and last port. Those below 1024 are IANA's system ports.
///
/// Sources: the ports that browsers refuse to connect to are the "bad ports" of the Fetch standard
/// (<https://fetch.spec.whatwg.org/#port-blocking>). The others are what servers listen on unless they
/// are told otherwise, from IANA's registry of service names and port numbers and from the
/// servers' own manuals.
const KNOWN: &[(u16, u16)] = &[
    (1, 1023),
    (1433, 1434),   // Microsoft SQL Server
    (1521, 1521),   // Oracle
    (1719, 1720),   // H.323: browsers refuse it
    (1723, 1723),   // PPTP: browsers refuse it
    (1883, 1883),   // MQTT
    (2049, 2049),   // NFS: browsers refuse it
    (2181, 2181),   // ZooKeeper
    (2375, 2376),   // Docker
    (2379, 2380),   // etcd
    (3000, 3000),   // Node, Rails, Grafana
    (3306, 3306),   // MySQL
    (3389, 3389),   // RDP
    (3659, 3659),   // apple-sasl: browsers refuse it
    (4045, 4045),   // lockd: browsers refuse it
    (4190, 4190),   // ManageSieve: browsers refuse it
    (4200, 4200),   // Angular
    (4222, 4222),   // NATS
    (4369, 4369),   // Erlang
    (5000, 5001),   // Flask, AirPlay
    (5060, 5061),   // SIP: browsers refuse it
    (5173, 5173),   // Vite
    (5432, 5432),   // PostgreSQL
    (5671, 5672),   // AMQP
    (5900, 5900),   // VNC
    (5984, 5984),   // CouchDB
    (6000, 6000),   // X11: browsers refuse it
    (6379, 6379),   // Redis
    (6443, 6443),   // Kubernetes
    (6566, 6566),   // SANE: browsers refuse it
    (6665, 6669),   // IRC: browsers refuse it
    (6679, 6679),   // IRC: browsers refuse it
    (6697, 6697),   // IRC: browsers refuse it
    (7000, 7000),   // AirPlay, Cassandra
    (7474, 7474),   // Neo4j
    (7687, 7687),   // Neo4j
    (8000, 8000),   // Django, python -m http.server
    (8080, 8081),   // HTTP by habit
    (8086, 8086),   // InfluxDB
    (8200, 8200),   // Vault
    (8443, 8443),   // HTTPS by habit
    (8500, 8500),   // Consul
    (8888, 8888),   // Jupyter
    (9000, 9000),   // PHP-FPM, MinIO, ClickHouse
    (9042, 9042),   // Cassandra
    (9090, 9090),   // Prometheus
    (9092, 9092),   // Kafka
    (9100, 9100),   // printers, node_exporter
    (9200, 9200),   // Elasticsearch
    (9229, 9229),   // Node's inspector
    (9300, 9300),   // Elasticsearch
    (9418, 9418),   // git
    (10080, 10080), // Amanda: browsers refuse it
    (10250, 10250), // Kubernetes
    (11211, 11211), // memcached
    (11434, 11434), // Ollama
    (15672, 15672), // RabbitMQ
    (27017, 27019), // MongoDB
    (33060, 33060), // MySQL
    (50051, 50051), // gRPC
];

/// Returns the ports of known use.
pub(super) fn known() -> impl Iterator<Item = PortRange> {
    KNOWN
        .iter()
        .filter_map(|&(first, last)| PortRange::new(Port::new(first)?, Port::new(last)?).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_in_order_and_each_line_of_it_is_a_range() {
        assert_eq!(known().count(), KNOWN.len());
        assert!(KNOWN.windows(2).all(|two| two[0].1 < two[1].0));
    }
}
