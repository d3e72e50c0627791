use proptest::prelude::*;

use super::*;

#[derive(Clone, Debug)]
enum Told {
    Snapshot(Version),
    Page,
    Complete(Version),
    Changes(Version, Version, Claims),
    Broken,
    End,
}

fn version() -> impl Strategy<Value = Version> {
    (0u64..3, 0u64..6).prop_map(|(epoch, number)| Version::new(epoch, number))
}

fn told() -> impl Strategy<Value = Told> {
    let claims = prop_oneof![Just(Claims::AtHead), Just(Claims::Nothing)];
    prop_oneof![
        version().prop_map(Told::Snapshot),
        Just(Told::Page),
        version().prop_map(Told::Complete),
        (version(), version(), claims)
            .prop_map(|(after, upto, claims)| Told::Changes(after, upto, claims)),
        Just(Told::Broken),
        Just(Told::End),
    ]
}

proptest! {
    /// REP-3: whatever is told in whatever order, what is held never goes back, what is applied leaves no gap, and a
    /// proof is taken only of what is held.
    #[test]
    fn what_is_held_never_goes_back(all in prop::collection::vec(told(), 1..60)) {
        let mut follow = Follow::default();
        let (mut began, mut is_broken) = (None, false);
        for told in all {
            let before = follow.held();
            match told {
                Told::Snapshot(version) => {
                    let taken = follow.on_snapshot(version);
                    prop_assert_eq!(taken.is_ok(), before.is_none_or(|held| version >= held));
                    if taken.is_ok() {
                        began = Some(version);
                    }
                    prop_assert_eq!(follow.held(), before);
                }
                Told::Page => prop_assert_eq!(follow.on_page().is_ok(), began.is_some()),
                Told::Complete(version) => {
                    if follow.on_complete(version).is_ok() {
                        is_broken = false;
                        prop_assert_eq!(follow.held(), Some(version));
                        let began = began.expect("it has begun");
                        prop_assert!(began <= version && began.epoch == version.epoch);
                    }
                    began = None;
                }
                Told::Changes(after, upto, claims) => match follow.on_changes(after, upto, claims) {
                    Ok(Apply::Above(number)) => {
                        let held = before.expect("there is a copy");
                        prop_assert!(after <= held && held < upto && held.epoch == upto.epoch);
                        prop_assert_eq!(number, if after < held { held.number } else { 0 });
                        // Half applied is not held.
                        prop_assert_eq!(follow.held(), before);
                        follow.on_applied(upto);
                    }
                    Ok(Apply::Nothing) => {
                        let held = before.expect("there is a copy");
                        prop_assert!(upto <= held && held.epoch == upto.epoch);
                        prop_assert!(claims == Claims::Nothing || upto == held);
                    }
                    Err(_) => prop_assert_eq!(follow.held(), before),
                },
                Told::Broken => {
                    follow.on_broken();
                    prop_assert_eq!(follow.resume(), None);
                    is_broken = true;
                }
                Told::End => {
                    follow.on_end();
                    began = None;
                }
            }
            prop_assert!(follow.held() >= before);
            prop_assert_eq!(follow.resume(), follow.held().filter(|_| !is_broken));
        }
    }
}

const fn at(epoch: u64, number: u64) -> Version {
    Version::new(epoch, number)
}

/// REP-3: each thing that can't be taken is named.
#[test]
fn what_can_not_be_taken_is_named() {
    let held = at(2, 5);
    let follow = || Follow::new(Some(held));
    let offered = at(2, 4);
    let older = Err(Broken::Older { offered, held });
    assert_eq!(follow().on_snapshot(offered), older);
    let changes = |after, upto, claims| follow().on_changes(after, upto, claims);
    let nothing = Claims::Nothing;
    let after = at(2, 6);
    let gap = Err(Broken::Gap { held, after });
    assert_eq!(changes(after, at(2, 7), nothing), gap);
    let told = at(2, 4);
    let behind = Err(Broken::Behind { told, held });
    assert_eq!(changes(told, told, Claims::AtHead), behind);
    assert_eq!(changes(told, told, nothing), Ok(Apply::Nothing));
    let told = at(1, 9);
    let behind = Err(Broken::Behind { told, held });
    assert_eq!(changes(told, told, nothing), behind);
    let after = at(3, 0);
    let gap = Err(Broken::Gap { held, after });
    assert_eq!(changes(after, at(3, 1), nothing), gap);
    assert_eq!(changes(at(2, 5), at(2, 4), nothing), Err(Broken::Disorder));
    assert_eq!(follow().on_page(), Err(Broken::Disorder));
    assert_eq!(
        Follow::default().on_changes(held, held, nothing),
        Err(Broken::Disorder)
    );
}
