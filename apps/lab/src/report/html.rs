//! The page: one file with its data, style and drawing inside; nothing is fetched.

const PAGE: &str = include_str!("page/page.html");
const STYLE: &str = include_str!("page/page.css");
const SCRIPT: &str = include_str!("page/page.js");

/// The page that shows this report.
pub(crate) fn page(json: &str) -> String {
    // Inside a script element only `<` could end it or open a comment.
    let json = json.replace('<', "\\u003c");
    // The report comes last, so that nothing in it is taken for one of the other marks.
    PAGE.replacen("__STYLE__", STYLE, 1)
        .replacen("__SCRIPT__", SCRIPT, 1)
        .replacen("__REPORT__", &json, 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_report_can_not_end_its_element() {
        let page = page(r#"{"name":"</script><script>alert(1)"}"#);
        assert!(page.contains(r"\u003c/script>\u003cscript>alert(1)"));
        for mark in ["__STYLE__", "__SCRIPT__", "__REPORT__"] {
            assert!(!page.contains(mark), "{mark}");
        }
    }

    #[test]
    fn the_page_fetches_nothing() {
        // The one address is a name: the namespace of SVG.
        let page = page("{}").replace("http://www.w3.org/2000/svg", "");
        for outside in ["http:", "https:", "src=", "@import", "url(", "fetch("] {
            assert!(!page.contains(outside), "{outside}");
        }
    }
}
