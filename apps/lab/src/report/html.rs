//! The page: one file with its data, style and drawing inside; nothing is fetched.

use super::Page;

const PAGE: &str = include_str!("page/page.html");
const STYLE: &str = include_str!("page/page.css");
const COMMON: &str = include_str!("page/common.js");

/// The page that shows this report.
pub(crate) fn page(json: &str, parts: Page) -> String {
    // Inside a script element only `<` could end it or open a comment.
    let json = json.replace('<', "\\u003c");
    // The report comes last, so that nothing in it is taken for one of the other marks.
    PAGE.replacen("__STYLE__", STYLE, 1)
        .replacen("__MAIN__", parts.body, 1)
        .replacen("__COMMON__", COMMON, 1)
        .replacen("__SCRIPT__", parts.script, 1)
        .replacen("__REPORT__", &json, 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::history::History;
    use crate::report::{Measured, Results};

    #[test]
    fn the_report_can_not_end_its_element() {
        for parts in [Measured::PAGE, History::PAGE] {
            let page = page(r#"{"name":"</script><script>alert(1)"}"#, parts);
            assert!(page.contains(r"\u003c/script>\u003cscript>alert(1)"));
            let marks = ["STYLE", "MAIN", "COMMON", "SCRIPT", "REPORT"];
            for mark in marks.map(|mark| format!("__{mark}__")) {
                assert!(!page.contains(&mark), "{mark}");
            }
        }
    }

    #[test]
    fn the_page_fetches_nothing() {
        // The one address is a name: the namespace of SVG.
        for parts in [Measured::PAGE, History::PAGE] {
            let page = page("{}", parts).replace("http://www.w3.org/2000/svg", "");
            for outside in ["http:", "https:", "src=", "@import", "url(", "fetch("] {
                assert!(!page.contains(outside), "{outside}");
            }
        }
    }
}
