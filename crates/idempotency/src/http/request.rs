//! Whose key it is, and what is asked for.

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

    /// The key under which the request is kept, and what it asks for.
    pub(super) fn identify(
        &self,
        namespace: &str,
        parts: &Parts,
        key: &str,
        body: &[u8],
    ) -> (Key, Fingerprint) {
        let principal = self.of(parts);
        let (method, path) = (
            parts.method.as_str().as_bytes(),
            parts.uri.path().as_bytes(),
        );
        let scope = [&b"http"[..], namespace.as_bytes(), &principal, method, path];
        let query = parts
            .uri
            .query()
            .map_or(vec![], |query| [b"?", query.as_bytes()].concat());
        let body = Fingerprint::body(body, is_json(parts));
        let asked = [&query[..], &body[..]];
        (
            Key::new(scope.iter().chain([&key.as_bytes()])),
            Fingerprint::of_parts(scope.iter().chain(&asked)),
        )
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
        Principal::Authorization.identify("", &parts, key, body.as_bytes())
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
        let by =
            |namespace: &str, principal: Principal| principal.identify(namespace, &parts, "k", b"");
        let told = Principal::Told(Arc::new(|parts| format!("{:?}", parts.headers["x-user"])));
        let all = [
            by("", Principal::Authorization),
            by("shop", Principal::Authorization),
            by("", told.clone()),
            by("shop", told),
        ];
        for (at, one) in all.iter().enumerate() {
            for other in &all[..at] {
                assert!(one.0 != other.0 && one.1 != other.1);
            }
        }
    }
}
