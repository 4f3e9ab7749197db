//! Through a proxy, for each kind of receiver that speaks HTTP.

use integration::fakes::tunnel::Proxy;

use crate::deliver::{deliver, ids, retry};
use crate::rig::Kind;

const KINDS: [Kind; 5] = [Kind::Http, Kind::Elasticsearch, Kind::Splunk, Kind::SplunkAck, Kind::Otlp];

#[test]
fn a_proxy_is_asked_for_the_way_if_one_is_configured() {
    for kind in KINDS {
        let rig = kind.start();
        let proxy = Proxy::start(true).unwrap();
        let address = rig.server().address();
        let mut sink = kind.sink(address, &format!("proxy: \"{}\"", proxy.url()));
        assert_eq!(deliver(&mut *sink, 1..=10).accepted, ids(1..=10), "{kind:?}");
        let mut asked = proxy.asked();
        asked.dedup();
        assert_eq!(asked, [address.to_string()], "{kind:?}");
        assert_eq!(rig.received(), ids(1..=10), "{kind:?}");
    }
}

#[test]
fn a_proxy_that_refuses_is_named_and_nothing_is_given_up() {
    for kind in KINDS {
        let rig = kind.start();
        let proxy = Proxy::start(false).unwrap();
        let mut sink = kind.sink(rig.server().address(), &format!("proxy: \"{}\"", proxy.url()));
        let (reason, _) = retry(&mut *sink);
        assert!(reason.contains("the proxy does not let us through"), "{kind:?}: {reason}");
        assert_eq!(rig.server().connections(), 0, "{kind:?}");
    }
}
