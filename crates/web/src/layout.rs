//! What all pages look like.

use maud::{DOCTYPE, Markup, html};

use crate::app::App;
use crate::assets::{ICON, SCRIPT, STYLE};
use crate::format::{Foreign, moment, since};
use crate::respond::Page;

/// The menu: addresses and names.
const PLACES: [(&str, &str); 10] = [
    ("/", "Overview"),
    ("/queries", "Queries"),
    ("/admission", "Resource queues"),
    ("/locks", "Locks"),
    ("/sessions", "Sessions"),
    ("/audit", "Audit"),
    ("/metrics", "Metrics"),
    ("/memz", "Memory"),
    ("/logs", "Logs"),
    ("/varz", "Configuration"),
];

/// A whole page.
pub(crate) fn page(app: &App, page: &impl Page) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (Foreign(&page.title())) " · Forebay" }
                link rel="icon" href=(ICON.path()) type="image/svg+xml";
                link rel="stylesheet" href=(STYLE.path());
                script src=(SCRIPT.path()) defer {}
            }
            body {
                (header(page.place()))
                main {
                    (page.still(app))
                    div #live data-live[page.is_live()] { (page.moving(app)) }
                }
                footer {
                    "Forebay " (env!("CARGO_PKG_VERSION")) " · up " (since(app.started))
                    " · since " (moment(app.started)) " UTC · all times are UTC · "
                    a href=(page.json_address()) { "this page as JSON" }
                }
            }
        }
    }
}

fn header(place: &str) -> Markup {
    html! {
        header {
            a.brand href="/" { "Forebay" }
            nav aria-label="Pages" {
                @for (address, name) in PLACES {
                    a href=(address) aria-current=[(address == place).then_some("page")] { (name) }
                }
            }
            span #pulse role="status" {}
        }
    }
}

/// A heading with a note beside it.
pub(crate) fn heading(title: &str, note: impl maud::Render) -> Markup {
    html! {
        div.heading { h2 { (title) } span.note { (note) } }
    }
}

/// Says that there is nothing to list.
pub(crate) fn nothing(text: &str) -> Markup {
    html! { p.nothing { (text) } }
}

/// A number with its name.
pub(crate) fn figure(name: &str, value: impl maud::Render, note: impl maud::Render) -> Markup {
    html! {
        div.figure { span.name { (name) } span.value { (value) } span.note { (note) } }
    }
}

/// A form of one button that does something.
pub(crate) fn confirmation(app: &App, action: &str, field: (&str, &str), button: &str) -> Markup {
    html! {
        form.confirm method="post" action=(action) {
            input type="hidden" name="token" value=(app.token.as_str());
            input type="hidden" name=(field.0) value=(field.1);
            button.danger type="submit" { (button) }
        }
    }
}
