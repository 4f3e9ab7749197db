//! Who gets an alert of which a part has to be cut.

use super::*;

#[test]
fn alert_whose_pods_labels_have_to_be_cut_goes_to_the_sink_that_asks_for_one_of_them() {
    let mut rig = Rig::new(None, &["team"]);
    rig.filter(0, |config| {
        config.labels.insert("team".to_owned(), "pay*".to_owned());
    });
    let mut large = alert(Class::High, 1);
    let pod = large.worker.get_or_insert_default().pod.get_or_insert_default();
    pod.labels = (0..2000).map(|number| (format!("note-{number}"), "x".repeat(60))).collect();
    pod.labels.insert("team".to_owned(), "payments".to_owned());
    rig.engine.accept(large);
    rig.engine.accept(alert(Class::High, 2));
    rig.spool();
    rig.settle(0);
    assert_eq!(rig.far(0).ids(), [1]);
}
