//! A name that does not resolve, in a network namespace without any network.

use integration::fakes::without_network;

use crate::deliver::{open, retry};
use crate::rig::token_file;

#[test]
fn a_name_that_does_not_resolve_is_said_and_nothing_is_given_up() {
    let token = format!("type: splunk, url: \"http://receiver.invalid:8088\", key_file: {}", token_file());
    for keys in [
        &*token,
        "type: http, url: \"http://receiver.invalid:8080/\"",
        "type: elasticsearch, url: \"https://receiver.invalid:9200\"",
        "type: otlp, url: \"http://receiver.invalid:4318\"",
        "type: syslog, address: \"tcp://receiver.invalid:514\"",
        "type: syslog, address: \"tls://receiver.invalid:6514\"",
        "type: syslog, address: \"udp://receiver.invalid:514\"",
    ] {
        let reason = without_network(|| retry(&mut *open(&format!("{keys}, timeout: 5s"))).0).unwrap();
        assert!(reason.contains("the name does not resolve"), "{keys}: {reason}");
    }
}

#[test]
fn an_address_without_a_way_to_it_is_said_and_nothing_is_given_up() {
    for keys in [
        "type: http, url: \"http://192.0.2.1:8080/\"",
        "type: syslog, address: \"tcp://192.0.2.1:514\"",
        "type: syslog, address: \"udp://192.0.2.1:514\"",
    ] {
        let reason = without_network(|| retry(&mut *open(&format!("{keys}, timeout: 5s"))).0).unwrap();
        assert!(reason.contains("Network is unreachable"), "{keys}: {reason}");
    }
}
