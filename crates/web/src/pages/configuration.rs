//! The settings of the server, and those that sessions start with.

use forebay_server::SettingRow;
use maud::{Markup, html};
use serde::Serialize;
use serde_json::json;

use crate::app::App;
use crate::format::Foreign;
use crate::layout::heading;
use crate::respond::{Page, Parameters};

pub(crate) struct Configuration;

impl Configuration {
    pub(crate) fn new(_: Parameters) -> Self {
        Self
    }
}

impl Page for Configuration {
    fn title(&self) -> String {
        "Configuration".to_owned()
    }

    fn place(&self) -> &'static str {
        "/varz"
    }

    fn is_live(&self) -> bool {
        false
    }

    fn moving(&self, app: &App) -> Markup {
        html! {
            h1 { "Configuration" }
            (heading("Server", "flags, environment, file"))
            table.cards {
                thead { tr { th { "Setting" } th { "Value" } th { "From" } th { "What it is for" } } }
                tbody {
                    @for setting in &app.configuration {
                        tr {
                            td data-label="Setting" { code { (setting.name) } }
                            td data-label="Value" {
                                @match &setting.value { Some(value) => code { (Foreign(value)) }, None => span.note { "not set" } }
                            }
                            td data-label="From" { (Foreign(&setting.origin)) }
                            td.wide data-label="For" { (setting.help) }
                        }
                    }
                }
            }
            (heading("Sessions", "what a new session starts with; ALTER ROLE … SET changes it"))
            table.cards {
                thead { tr { th { "Setting" } th { "Value" } th { "What it is for" } } }
                tbody { @for row in app.server.default_settings() { (session_setting(&row)) } }
            }
        }
    }

    fn json(&self, app: &App) -> impl Serialize {
        let flags = app.configuration.iter().map(|setting| {
            json!({
                "name": setting.name,
                "current": setting.value,
                "origin": setting.origin,
                "description": setting.help,
            })
        });
        let sessions = app.server.default_settings();
        let sessions = sessions.iter().map(|row| {
            json!({
                "name": row.name,
                "current": row.setting,
                "unit": row.unit,
                "type": row.kind,
                "description": row.description,
            })
        });
        json!({
            "flags": flags.collect::<Vec<_>>(),
            "session_settings": sessions.collect::<Vec<_>>(),
        })
    }
}

fn session_setting(row: &SettingRow) -> Markup {
    html! {
        tr {
            td data-label="Setting" { code { (row.name) } }
            td data-label="Value" { code { (Foreign(&row.setting)) @if let Some(unit) = row.unit { " " (unit) } } }
            td.wide data-label="For" { (row.description) }
        }
    }
}
