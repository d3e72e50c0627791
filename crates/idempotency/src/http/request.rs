//! Whose key it is, what is asked for, and what is undone.

use std::fmt;
use std::sync::Arc;

use http::HeaderValue;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::request::Parts;

use crate::{Fingerprint, Key};

/// Who asks.
#[derive(Clone)]
pub(super) enum Principal {
    /// Whoever has this `Authorization` header.
    Authorization,
    /// As the server's own function says.
    Told(Arc<dyn Fn(&Parts) -> String + Send + Sync>),
}

impl fmt::Debug for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Authorization => "Authorization",
            Self::Told(_) => "Told",
        })
    }
}

impl Principal {
    fn of(&self, parts: &Parts) -> Vec<u8> {
        match self {
            Self::Told(who) => [b"told:", who(parts).as_bytes()].concat(),
            Self::Authorization => {
                let values = parts.headers.get_all(AUTHORIZATION).iter();
                let parts: Vec<&[u8]> = values.map(HeaderValue::as_bytes).collect();
                [b"auth:", &crate::key::encoded(parts)[..]].concat()
            }
        }
    }
}

/// What is told apart by the same key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum KeysOf {
    /// Each method and path.
    Route,
    /// Nothing that one principal asks for, so that an undo on another route can name its key.
    Principal,
}

/// How the keys of a layer are told apart.
#[derive(Clone, Debug)]
pub(super) struct Scope {
    pub(super) namespace: String,
    pub(super) principal: Principal,
    pub(super) keys: KeysOf,
}

/// The keys that a request carries, as its client wrote them.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Carried {
    pub(super) key: String,
    pub(super) undoes: Option<String>,
}

/// A request as it is kept.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Identified {
    pub(super) key: Key,
    pub(super) asked: Fingerprint,
    /// The key of the request that this one undoes.
    pub(super) undone: Option<Key>,
}

impl Scope {
    pub(super) fn identify(&self, parts: &Parts, carried: &Carried, body: &[u8]) -> Identified {
        let principal = self.principal.of(parts);
        let (method, path) = (
            parts.method.as_str().as_bytes(),
            parts.uri.path().as_bytes(),
        );
        let namespace = self.namespace.as_bytes();
        let route = [&b"http"[..], namespace, &principal, method, path];
        let scope = match self.keys {
            KeysOf::Route => &route[..],
            KeysOf::Principal => &route[..3],
        };
        let key = |stated: &str| Key::new(scope.iter().chain([&stated.as_bytes()]));
        let query = parts
            .uri
            .query()
            .map_or(vec![], |query| [b"?", query.as_bytes()].concat());
        let body = Fingerprint::body(body, is_json(parts));
        let asked = [&query[..], &body[..]];
        let undoes = carried.undoes.as_deref().map(str::as_bytes);
        Identified {
            key: key(&carried.key),
            asked: Fingerprint::of_parts(route.iter().chain(&asked).chain(&undoes)),
            undone: carried.undoes.as_deref().map(key),
        }
    }
}

/// `application/json`, `text/json` and all that end in `+json`.
fn is_json(parts: &Parts) -> bool {
    let stated = parts.headers.get(CONTENT_TYPE);
    let Some(text) = stated.and_then(|value| value.to_str().ok()) else {
        return false;
    };
    let essence = text
        .split(';')
        .next()
        .unwrap_or(text)
        .trim()
        .to_ascii_lowercase();
    essence.ends_with("/json") || essence.ends_with("+json")
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn of(change: impl FnOnce(&mut Parts), key: &str, body: &str) -> (Key, Fingerprint) {
        let request = Request::post("/charges?dry=1")
            .header(AUTHORIZATION, "Bearer a")
            .header(CONTENT_TYPE, "application/json; charset=utf-8");
        let (mut parts, ()) = request.body(()).unwrap().into_parts();
        change(&mut parts);
        identified(KeysOf::Route, &parts, key, None, body)
    }

    fn identified(
        keys: KeysOf,
        parts: &Parts,
        key: &str,
        undoes: Option<&str>,
        body: &str,
    ) -> (Key, Fingerprint) {
        let scope = Scope {
            namespace: String::new(),
            principal: Principal::Authorization,
            keys,
        };
        let carried = Carried {
            key: key.to_owned(),
            undoes: undoes.map(str::to_owned),
        };
        let identified = scope.identify(parts, &carried, body.as_bytes());
        (identified.key, identified.asked)
    }

    /// SAG-4: keys that an undo can name are of a principal, whatever the route; what is asked for still has it all.
    #[test]
    fn a_key_that_can_be_undone_belongs_to_a_principal() {
        let parts = |path: &str, user: &str| {
            let request = Request::post(path).header(AUTHORIZATION, user);
            request.body(()).unwrap().into_parts().0
        };
        let of =
            |path, user, undoes| identified(KeysOf::Principal, &parts(path, user), "k", undoes, "");
        let (key, asked) = of("/charges", "a", None);
        let (same, other) = of("/refunds", "a", None);
        assert!(same == key && other != asked);
        assert_ne!(of("/charges", "b", None).0, key);
        let by_route = identified(KeysOf::Route, &parts("/charges", "a"), "k", None, "");
        assert!(by_route.0 != key && by_route.1 == asked);
        // An undo of something else is another request.
        let undoes = [None, Some(""), Some("k"), Some("l")].map(|key| of("/charges", "a", key));
        for (at, one) in undoes.iter().enumerate() {
            assert!(undoes[..at].iter().all(|other| other.1 != one.1));
        }
    }

    /// IDE-1: principal, method and path are in the key; query and body only in what is asked for.
    #[test]
    fn a_key_belongs_to_a_principal_a_method_and_a_route() {
        let body = r#"{"amount":7,"to":"b"}"#;
        let (key, asked) = of(|_| (), "k", body);
        let other: [fn(&mut Parts); 4] = [
            |parts| {
                drop(
                    parts
                        .headers
                        .insert(AUTHORIZATION, "Bearer b".parse().unwrap()),
                );
            },
            |parts| drop(parts.headers.remove(AUTHORIZATION)),
            |parts| parts.method = http::Method::PATCH,
            |parts| parts.uri = "/refunds?dry=1".parse().unwrap(),
        ];
        for change in other {
            let (other, other_asked) = of(change, "k", body);
            assert_ne!((&other, &other_asked), (&key, &asked));
            assert!(other != key && other_asked != asked);
        }
        assert_ne!(of(|_| (), "l", body).0, key);

        let reordered = r#"{ "to": "b", "amount": 7 }"#;
        assert_eq!(of(|_| (), "k", reordered), (key.clone(), asked.clone()));
        let (same, other_asked) = of(|_| (), "k", r#"{"amount":8,"to":"b"}"#);
        assert!(same == key && other_asked != asked);
        let (same, other_asked) = of(|parts| parts.uri = "/charges".parse().unwrap(), "k", body);
        assert!(same == key && other_asked != asked);
        let as_text = |parts: &mut Parts| drop(parts.headers.remove(CONTENT_TYPE));
        assert_ne!(of(as_text, "k", body), of(as_text, "k", reordered));
    }

    /// IDE-1: a namespace and a principal of the server's own are part of both.
    #[test]
    fn a_namespace_and_a_principal_are_told() {
        let (parts, ()) = Request::post("/")
            .header("x-user", "a")
            .body(())
            .unwrap()
            .into_parts();
        let by = |namespace: &str, principal: Principal| {
            let scope = Scope {
                namespace: namespace.to_owned(),
                principal,
                keys: KeysOf::Route,
            };
            let carried = Carried {
                key: "k".to_owned(),
                undoes: None,
            };
            scope.identify(&parts, &carried, b"")
        };
        let told = Principal::Told(Arc::new(|parts| format!("{:?}", parts.headers["x-user"])));
        let all = [
            by("", Principal::Authorization),
            by("shop", Principal::Authorization),
            by("", told.clone()),
            by("shop", told),
        ];
        for (at, one) in all.iter().enumerate() {
            for other in &all[..at] {
                assert!(one.key != other.key && one.asked != other.asked);
            }
        }
    }
}
