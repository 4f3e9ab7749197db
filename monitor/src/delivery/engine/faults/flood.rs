//! More alerts at once than can be spooled.

use std::time::Duration;

use super::*;
use crate::alert::Tier;

/// More than the intake takes.
const FLOOD: u64 = 6000;

#[test]
fn flood_that_cannot_be_spooled_is_named_by_number_to_each_sink_that_would_have_had_it() {
    let dir = tempfile::tempdir().unwrap();
    let mut rig = Rig::new(Some(dir.path()), &["all", "urgent"]);
    rig.filter(1, |config| config.min_tier = Tier::Identity);
    rig.engine.log_alerts();
    rig.accept(Class::High, 1..=3);
    for number in 4..=FLOOD {
        rig.engine.accept(alert(Class::Low, number));
    }
    rig.engine.accept(alert(Class::High, FLOOD + 1));
    rig.spool();
    rig.accept(Class::High, FLOOD + 2..=FLOOD + 3);
    rig.pass(Duration::from_secs(300));
    for (sink, raised) in [(0, FLOOD + 3), (1, 6)] {
        let far = rig.far(sink);
        let accounted = far.accounted();
        let last = accounted.last().copied().unwrap();
        assert_eq!(accounted.len() as u64, last, "every number came or is named");
        let named: u64 = far.got.iter().flat_map(|got| &got.gone).map(|[a, b]| b - a + 1).sum();
        assert_eq!(far.ids().len() as u64 + named, raised, "each alert came or has one of the named numbers");
        assert_eq!(named > 1000, sink == 0, "{named} of sink {sink}");
        let stats = rig.stats(sink);
        assert_eq!((stats.refused, stats.evicted), (named, 0), "{stats:?}");
        for urgent in [1, 2, 3, FLOOD + 1, FLOOD + 2, FLOOD + 3] {
            assert!(far.ids().contains(&urgent), "the lowest class is left out first");
        }
    }
    let told = rig.far(0).got.iter().filter(|got| !got.gone.is_empty()).count();
    let logged = rig.engine.take_logged();
    assert_eq!(logged.len(), rig.far(0).ids().len() + told, "what was left out is in the local log");
}
