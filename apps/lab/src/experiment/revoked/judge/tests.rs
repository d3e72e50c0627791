use super::super::count::tests::{known, s, shown};
use super::super::plan::Key;
use super::super::world::{Setting, Shown};
use super::*;
use crate::experiment::verdict::{Verdict, judge};
use crate::keys::door::Said;

/// How a door goes on with a key that was revoked out of its reach.
#[derive(Clone, Copy, PartialEq)]
enum Door {
    /// For ever, as it says nothing of its age.
    LetsIn,
    /// For ever, with an age that is true.
    LetsInWithAge,
    /// Up to the bound.
    FailsClosed,
    /// As the one above, with an age that is not.
    Lies,
    /// It knows nothing by itself.
    Asks,
}

impl Door {
    fn says(self, key: Key, at: f64) -> (Said, Option<f64>) {
        let is_cut = (9.9..20.0).contains(&at);
        let is_revoked = match key {
            Key::Good => false,
            Key::Early => at >= 2.1,
            Key::Late => at >= 20.0,
        };
        let said = if is_revoked {
            Said::Unknown
        } else {
            Said::LetIn
        };
        let age = if is_cut { at - 9.9 } else { 0.0 };
        match self {
            Self::Asks if is_cut => (Said::CantSay, None),
            Self::LetsIn | Self::Asks => (said, None),
            Self::FailsClosed | Self::Lies if age > 4.0 => (Said::CantSay, None),
            Self::LetsInWithAge | Self::FailsClosed => (said, Some(age)),
            Self::Lies => (said, Some(0.0)),
        }
    }
}

fn all_shown(door: Door) -> Vec<Shown> {
    let mut all = Vec::new();
    for key in Key::ALL {
        for tick in 1..130 {
            let at = f64::from(tick) / 5.0;
            let (said, age) = door.says(key, at);
            all.push(shown(key, at, said, age));
        }
    }
    all
}

fn worlds(backstay: Door) -> Vec<Ended> {
    let door = |arm: Arm| match arm.name {
        NONE => Door::Asks,
        ARTICLE => Door::LetsIn,
        NO_BOUND => Door::LetsInWithAge,
        CACHED => Door::FailsClosed,
        _ => backstay,
    };
    let world = |arm: Arm, fault: Fault| {
        let mut world = Ended {
            setting: Setting { arm, fault },
            shown: all_shown(door(arm)),
            known: known(),
        };
        if fault == Fault::Restarted {
            world.known.is_restarted = true;
            let answer = world.shown[60].answer.as_mut();
            answer.unwrap().is_from_disk = true;
        }
        world
    };
    let of_arm = |arm| Fault::ALL.map(|fault| world(arm, fault));
    ARMS.into_iter().flat_map(of_arm).collect()
}

fn verdict(worlds: &[Ended]) -> (Verdict, Vec<String>) {
    let history = history(worlds, s(0.0), Duration::from_secs(26));
    let (verdict, reasons, _) = judge(&rules(), &history, None);
    (verdict, reasons)
}

fn is_told(reasons: &[String], reason: &str) -> bool {
    reasons.iter().any(|told| told.starts_with(reason))
}

#[test]
fn a_run_without_fault_passes() {
    let (verdict, reasons) = verdict(&worlds(Door::FailsClosed));
    assert_eq!(verdict, Verdict::Pass, "{reasons:?}");
    let past = "backstay lets no key in more than 4 s after it was revoked: 0";
    assert!(is_told(&reasons, past), "{reasons:?}");
}

#[test]
fn each_fault_of_ours_fails() {
    type Change = fn(&mut Vec<Shown>);
    let cases: [(Door, Change, &str); 6] = [
        (Door::LetsIn, |_| {}, "backstay lets no key in more"),
        (Door::LetsInWithAge, |_| {}, "backstay lets no key in more"),
        (Door::Lies, |_| {}, "backstay never says"),
        (
            Door::FailsClosed,
            |all| all.push(shown(Key::Early, 4.5, Said::LetIn, Some(2.5))),
            "backstay hears of a revocation",
        ),
        (
            Door::FailsClosed,
            |all| all.push(shown(Key::Good, 24.5, Said::CantSay, None)),
            "backstay is right about all keys",
        ),
        (
            Door::FailsClosed,
            |all| all.push(shown(Key::Good, 26.0, Said::CantSay, None)),
            "backstay is right about all keys 4 s after the link is whole again: never",
        ),
    ];
    for (door, change, reason) in cases {
        let mut worlds = worlds(door);
        let ours = worlds.iter_mut();
        let ours = ours.filter(|world| world.setting.arm.name == BACKSTAY);
        ours.for_each(|world| change(&mut world.shown));
        let (verdict, reasons) = verdict(&worlds);
        assert_eq!(verdict, Verdict::Fail, "{reason}: {reasons:?}");
        assert!(is_told(&reasons, reason), "{reason}: {reasons:?}");
    }
}

#[test]
fn a_run_that_proves_nothing_is_invalid() {
    type Change = fn(&mut Vec<Ended>);
    fn becomes(worlds: &mut [Ended], arm: &str, door: Door) {
        let changed = worlds.iter_mut();
        let changed = changed.filter(|world| world.setting.arm.name == arm);
        changed.for_each(|world| world.shown = all_shown(door));
    }
    let cases: [(Change, &str); 8] = [
        (
            |worlds| becomes(worlds, ARTICLE, Door::FailsClosed),
            "article lets revoked keys in past that",
        ),
        (
            |worlds| becomes(worlds, ARTICLE, Door::FailsClosed),
            "article lets a revoked key in each time",
        ),
        (
            |worlds| becomes(worlds, NO_BOUND, Door::FailsClosed),
            "nobound lets revoked keys in past that",
        ),
        (
            |worlds| becomes(worlds, NONE, Door::LetsIn),
            "none turns away",
        ),
        (
            |worlds| becomes(worlds, BACKSTAY, Door::FailsClosed),
            "backstay begins with what",
        ),
        (
            |worlds| worlds[0].known.is_cut = false,
            "every door is cut off: 14 of 15",
        ),
        (
            |worlds| worlds[2].known.is_restarted = false,
            "a door of each arm is started again: 4 of 5",
        ),
        (
            |worlds| {
                let shown = &mut worlds[3].shown;
                shown.retain(|shown| shown.heard < s(15.0) || shown.heard > s(20.0));
            },
            "revoked keys are shown 10 times at least",
        ),
    ];
    for (change, reason) in cases {
        let mut worlds = worlds(Door::FailsClosed);
        change(&mut worlds);
        let (verdict, reasons) = verdict(&worlds);
        assert_eq!(verdict, Verdict::Invalid, "{reason}: {reasons:?}");
        assert!(is_told(&reasons, reason), "{reason}: {reasons:?}");
    }
    assert_eq!(verdict(&[]).0, Verdict::Invalid);
}
