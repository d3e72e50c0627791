//! From what doors answered to what was wrong in it. All of it is arithmetic.

use std::time::Duration;

use backstay::lease::Moment;

use super::plan::{Fault, Key};
use super::world::{Ended, Known, Revoked, Shown};
use crate::keys::door::Said;
use crate::keys::ours::BOUND;

/// What a key was when it was shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Was {
    Good,
    /// It was being revoked: both answers are right.
    Unclear,
    /// So long before.
    Revoked(Duration),
}

/// What is known of one door.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Counts {
    pub(super) shown: usize,
    /// How often a key was shown that was not revoked.
    pub(super) good: usize,
    /// When such a key was not let in.
    pub(super) turned_away: Vec<Moment>,
    /// When a revoked key was let in.
    pub(super) used: Vec<Moment>,
    /// The longest from a revocation until such a use, of the key that was revoked early and of that which was late.
    pub(super) early: Duration,
    pub(super) late: Duration,
    /// Uses later after the revocation than our bound.
    pub(super) past_bound: usize,
    /// Answers that were not so at any moment within their age.
    pub(super) lies: usize,
    /// When the late key was refused after it was revoked.
    pub(super) refused: Vec<Moment>,
    /// Answers for the late key, of any kind, while it was cut off: from the revocation on, and beyond the bound.
    pub(super) while_cut: usize,
    pub(super) while_cut_past_bound: usize,
    pub(super) refused_while_cut: usize,
    pub(super) from_disk: usize,
    /// From when the link healed until the last wrong answer; none if the last was wrong.
    pub(super) back: Option<Duration>,
}

impl Counts {
    pub(super) fn of(ended: &Ended) -> Self {
        let known = &ended.known;
        let mut counts = Self {
            shown: ended.shown.len(),
            back: back(&ended.shown, known),
            ..Self::default()
        };
        for shown in &ended.shown {
            counts.add(shown, known);
        }
        counts
    }

    fn add(&mut self, shown: &Shown, known: &Known) {
        let is_in = shown.is_let_in();
        let at = shown.at();
        match shown.was(known) {
            Was::Good => {
                self.good += 1;
                if !is_in {
                    self.turned_away.push(at);
                }
            }
            Was::Revoked(since) => {
                if is_in {
                    self.used.push(at);
                    self.past_bound += usize::from(since > BOUND);
                    let longest = match shown.key {
                        Key::Late => &mut self.late,
                        _ => &mut self.early,
                    };
                    *longest = since.max(*longest);
                } else if shown.key == Key::Late {
                    self.refused.push(at);
                }
                let is_cut = known.healed.is_none_or(|healed| shown.heard < healed);
                if shown.key == Key::Late && is_cut && shown.answer.is_some() {
                    self.while_cut += 1;
                    self.refused_while_cut += usize::from(!is_in);
                    self.while_cut_past_bound += usize::from(since > BOUND);
                }
            }
            Was::Unclear => {}
        }
        self.lies += usize::from(shown.is_lie(known));
        let is_from_disk = shown.answer.is_some_and(|answer| answer.is_from_disk);
        self.from_disk += usize::from(is_from_disk);
    }
}

fn back(all: &[Shown], known: &Known) -> Option<Duration> {
    let healed = known.healed?;
    let mut wrong = Vec::new();
    for key in Key::ALL {
        let mut after: Vec<_> = all
            .iter()
            .filter(|shown| shown.key == key && shown.at() >= healed)
            .collect();
        after.sort_by_key(|shown| shown.at());
        if after.last()?.is_wrong(known) {
            return None;
        }
        let last = after.iter().rfind(|shown| shown.is_wrong(known));
        wrong.extend(last.map(|shown| shown.at().since(healed)));
    }
    Some(wrong.into_iter().max().unwrap_or_default())
}

impl Known {
    pub(super) fn revoked(&self, key: Key) -> Option<Revoked> {
        match key {
            Key::Good => None,
            Key::Early => self.early,
            Key::Late => self.late,
        }
    }
}

impl Shown {
    fn is_let_in(&self) -> bool {
        self.answer.is_some_and(|answer| answer.said == Said::LetIn)
    }

    /// Not after the door looked.
    fn at(&self) -> Moment {
        self.answer
            .map_or(self.sent, |answer| Moment::from_nanos(answer.at))
    }

    fn was(&self, known: &Known) -> Was {
        match known.revoked(self.key) {
            Some(revoked) if self.at() > revoked.told => {
                Was::Revoked(self.at().since(revoked.told))
            }
            Some(revoked) if self.heard >= revoked.asked => Was::Unclear,
            _ => Was::Good,
        }
    }

    fn is_wrong(&self, known: &Known) -> bool {
        match self.was(known) {
            Was::Good => !self.is_let_in(),
            Was::Revoked(_) => self.is_let_in(),
            Was::Unclear => false,
        }
    }

    /// Whether it can't have been so within the age that it says. Where the lab can't know it is none.
    fn is_lie(&self, known: &Known) -> bool {
        let Some(answer) = self.answer else {
            return false;
        };
        let Some(age) = answer.age else { return false };
        let revoked = known.revoked(self.key);
        match answer.said {
            Said::LetIn => revoked.is_some_and(|revoked| self.at().minus(age) > revoked.told),
            Said::Unknown => revoked.is_none_or(|revoked| self.heard < revoked.asked),
            Said::CantSay => false,
        }
    }
}

impl Fault {
    /// Whether what a door knew before it was cut off is still with it.
    pub(super) fn keeps_memory(self) -> bool {
        self != Self::Restarted
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::keys::door::Answer;

    pub(in super::super) fn s(seconds: f64) -> Moment {
        Moment::from_nanos(0).plus(Duration::from_secs_f64(seconds))
    }

    /// Early is revoked at 2 s; at 10 s the link is cut, late is revoked, and at 20 s all is whole again.
    pub(in super::super) fn known() -> Known {
        let revoked = |at| Revoked {
            asked: s(at),
            told: s(at + 0.1),
        };
        Known {
            early: Some(revoked(2.0)),
            late: Some(revoked(10.0)),
            cut: Some(s(9.9)),
            healed: Some(s(20.0)),
            is_cut: true,
            is_restarted: false,
        }
    }

    pub(in super::super) fn shown(key: Key, at: f64, said: Said, age: Option<f64>) -> Shown {
        Shown {
            key,
            sent: s(at - 0.01),
            heard: s(at + 0.01),
            answer: Some(Answer {
                said,
                at: s(at).as_nanos(),
                age: age.map(Duration::from_secs_f64),
                is_from_disk: false,
            }),
        }
    }

    fn lies(key: Key, at: f64, said: Said, age: Option<f64>) -> bool {
        shown(key, at, said, age).is_lie(&known())
    }

    #[test]
    fn an_age_below_the_truth_is_a_lie() {
        // Revoked at 10.1 s at the latest.
        assert!(lies(Key::Late, 12.0, Said::LetIn, Some(1.8)));
        assert!(!lies(Key::Late, 12.0, Said::LetIn, Some(2.0)));
        assert!(!lies(Key::Late, 10.05, Said::LetIn, Some(0.0)));
        assert!(!lies(Key::Late, 12.0, Said::LetIn, None), "it says none");
        assert!(!lies(Key::Late, 12.0, Said::CantSay, Some(0.0)));
        // It was there until 10 s, and the good one always.
        assert!(lies(Key::Late, 9.5, Said::Unknown, Some(5.0)));
        assert!(!lies(Key::Late, 12.0, Said::Unknown, Some(0.0)));
        assert!(lies(Key::Good, 12.0, Said::Unknown, Some(0.0)));
        assert!(!lies(Key::Good, 12.0, Said::LetIn, Some(0.0)));
    }

    #[test]
    fn what_a_key_was_is_known_but_while_it_is_revoked() {
        let was = |at| shown(Key::Late, at, Said::LetIn, None).was(&known());
        assert_eq!(was(9.5), Was::Good);
        assert_eq!(was(10.05), Was::Unclear);
        assert_eq!(was(12.1), Was::Revoked(Duration::from_secs(2)));
    }

    fn counts(all: &[Shown]) -> Counts {
        let setting = super::super::world::Setting {
            arm: crate::keys::ARMS[0],
            fault: Fault::Silent,
        };
        Counts::of(&Ended {
            setting,
            shown: all.to_vec(),
            known: known(),
        })
    }

    #[test]
    fn uses_are_counted_with_their_time() {
        let counts = counts(&[
            shown(Key::Early, 1.0, Said::LetIn, None),
            shown(Key::Early, 2.6, Said::LetIn, None),
            shown(Key::Late, 9.0, Said::CantSay, None),
            shown(Key::Late, 11.1, Said::LetIn, Some(2.0)),
            shown(Key::Late, 15.1, Said::LetIn, Some(1.0)),
            shown(Key::Late, 15.2, Said::CantSay, None),
        ]);
        assert_eq!((counts.shown, counts.good), (6, 2));
        assert_eq!(counts.turned_away, [s(9.0)]);
        assert_eq!(counts.used, [s(2.6), s(11.1), s(15.1)]);
        assert_eq!(counts.early, Duration::from_millis(500));
        assert_eq!(counts.late, Duration::from_secs(5));
        assert_eq!((counts.past_bound, counts.lies), (1, 1));
        assert_eq!(counts.refused, [s(15.2)]);
        assert_eq!((counts.while_cut, counts.refused_while_cut), (3, 1));
        assert_eq!(counts.while_cut_past_bound, 2);
    }

    #[test]
    fn it_is_back_after_the_last_wrong_answer() {
        let right = [
            shown(Key::Good, 25.0, Said::LetIn, None),
            shown(Key::Early, 25.0, Said::Unknown, None),
            shown(Key::Late, 25.0, Said::Unknown, None),
        ];
        let back = |more: &[Shown]| counts(&[more, &right].concat()).back;
        assert_eq!(back(&[]), Some(Duration::ZERO));
        let late = shown(Key::Late, 21.0, Said::LetIn, None);
        let good = shown(Key::Good, 22.0, Said::CantSay, None);
        assert_eq!(back(&[late, good]), Some(Duration::from_secs(2)));
        let still = shown(Key::Good, 26.0, Said::CantSay, None);
        assert_eq!(back(&[still]), None);
        assert_eq!(counts(&right[..2]).back, None, "nobody has looked");
    }
}
