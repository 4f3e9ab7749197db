//! Incidents grow from what the pipeline finds.

use super::*;

#[test]
fn first_login_after_a_theft_is_an_objective_and_one_before_it_is_not() {
    let mut pipeline = started();
    connect(&mut pipeline, RUNNER, 2_100, 3_000, 22);
    open(&mut pipeline, RUNNER, 2_100, 3_100, "/var/run/secrets/cloud/token", 0);
    connect(&mut pipeline, RUNNER, 2_100, 3_200, 22);
    connect(&mut pipeline, ENGINE, 1_100, 3_300, 22);
    let said = alerts(&mut pipeline);
    let tiers: Vec<Option<Tier>> = said.iter().map(|alert| alert.tier).collect();
    let expected = [Tier::Boundary, Tier::Identity, Tier::Objective, Tier::Deviation].map(Some);
    assert_eq!(tiers, expected, "the engine is in no incident");
    assert_eq!(said[2].finding.as_ref().unwrap().id, "login-after-theft");
}
