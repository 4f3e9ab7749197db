//! Through a proxy.

use integration::fakes::server::ANY;
use integration::fakes::tunnel::Proxy;

use crate::deliver::{deliver, ids, retry};
use crate::rig::Kind;

#[test]
fn a_proxy_is_asked_for_the_way_if_one_is_configured() {
    let rig = Kind::Http.start();
    let proxy = Proxy::start(true).unwrap();
    let address = rig.server().address();
    let mut sink = Kind::Http.sink(address, &format!("proxy: \"{}\"", proxy.url()));
    assert_eq!(deliver(&mut *sink, 1..=10).accepted, ids(1..=10));
    assert_eq!(proxy.asked(), [address.to_string()]);
    assert_eq!(rig.received(), ids(1..=10));
}

#[test]
fn a_proxy_that_refuses_is_named_and_nothing_is_given_up() {
    let rig = Kind::Http.start_at(ANY).unwrap();
    let proxy = Proxy::start(false).unwrap();
    let mut sink = Kind::Http.sink(rig.server().address(), &format!("proxy: \"{}\"", proxy.url()));
    let (reason, _) = retry(&mut *sink);
    assert!(reason.contains("the proxy does not let us through"), "{reason}");
    assert_eq!(rig.server().connections(), 0);
}
