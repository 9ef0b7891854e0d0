//! `standin history`: the views that there were.

use std::fmt::Write as _;

use clap::Args;
use clap::builder::BoolishValueParser;
use serde::Serialize;
use standin_client::ViewServices;
use standin_core::message::{HistoryReply, PastView};
use standin_core::time::Duration;

use super::moment::utc;
use super::{duration, output};

/// The arguments of `standin history`.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  standin history --viewservice 127.0.0.1:7000\n\n\
    One line for each view: its number, when it began (UTC, by the view service's clock), primary, backup and \
    cause. The gap is how long nobody served as the view service saw it: from the last renewal of the lease to \
    the moment at which the next primary took up its role. The lease is renewed five times a term, so clients \
    may have waited that much less.\n\n\
    Exit status: 0 shown; 2 misused; 3 no view service was reached in time."
)]
pub(crate) struct HistoryArgs {
    /// Address of the view service; several are separated by commas
    #[arg(long, env = "STANDIN_VIEWSERVICE", value_name = "ADDR")]
    viewservice: ViewServices,
    /// How long to try
    #[arg(long, env = "STANDIN_TIMEOUT", default_value = "2s", value_parser = duration::parse)]
    timeout: Duration,
    /// Print JSON, on one line
    #[arg(long, env = "STANDIN_JSON", value_parser = BoolishValueParser::new())]
    json: bool,
}

/// What `--json` prints. The fields are a promise; more may be added.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Account {
    views: Vec<ViewAccount>,
    /// What is missing, and why.
    #[serde(skip_serializing_if = "Option::is_none")]
    missing: Option<String>,
}

#[derive(Debug, PartialEq, Eq, Serialize)]
struct ViewAccount {
    number: u64,
    /// Null if nobody noted it.
    time: Option<String>,
    primary: String,
    backup: Option<String>,
    cause: &'static str,
    /// Null where there was none, or none that is known.
    gap_ms: Option<u64>,
    /// Whether the primary came to serve.
    active: bool,
    data_epoch: u32,
}

/// Asks the view service, and prints what it says.
pub(crate) fn run(args: HistoryArgs) -> u8 {
    match standin_client::history(&args.viewservice, args.timeout) {
        Ok(reply) => output::written(output::write(render(&Account::of(&reply), args.json))),
        Err(error) => super::not_told(&error),
    }
}

fn render(account: &Account, json: bool) -> String {
    if json {
        let line = serde_json::to_string(account).expect("nothing in it can fail");
        return format!("{line}\n");
    }
    let mut rows = vec![HEAD.map(str::to_owned)];
    rows.extend(account.views.iter().map(ViewAccount::row));
    let mut widths = [0; HEAD.len()];
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for (&width, cell) in widths.iter().zip(row) {
            write!(line, "{cell:<width$}  ").expect("writing to memory cannot fail");
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    if let Some(missing) = &account.missing {
        text.push_str(missing);
        text.push('\n');
    }
    text
}

const HEAD: [&str; 6] = ["VIEW", "TIME", "PRIMARY", "BACKUP", "GAP", "CAUSE"];

impl Account {
    fn of(reply: &HistoryReply) -> Self {
        Self {
            views: reply.views.iter().map(ViewAccount::of).collect(),
            missing: reply.remark.clone(),
        }
    }
}

impl ViewAccount {
    fn of(view: &PastView) -> Self {
        Self {
            number: view.view.view.0,
            time: view.began.map(utc),
            primary: view.primary.to_string(),
            backup: view.backup.as_ref().map(ToString::to_string),
            cause: view.cause.words(),
            gap_ms: view.gap_ms,
            active: view.is_active,
            data_epoch: view.view.data_epoch.0,
        }
    }

    fn row(&self) -> [String; HEAD.len()] {
        let or_dash = |cell: Option<&str>| cell.unwrap_or("-").to_owned();
        let gap = self.gap_ms.map(|gap| format!("{gap} ms"));
        let cause = match self.active {
            true => self.cause.to_owned(),
            false => format!("{}; it never served", self.cause),
        };
        [
            self.number.to_string(),
            or_dash(self.time.as_deref()),
            self.primary.clone(),
            or_dash(self.backup.as_deref()),
            or_dash(gap.as_deref()),
            cause,
        ]
    }
}

#[cfg(test)]
mod tests {
    use standin_core::identity::ReplicaName;
    use standin_core::time::WallTime;
    use standin_core::view::{DataEpoch, Reason, ViewId, ViewNumber};

    use super::*;

    fn view(number: u64, cause: Reason, gap_ms: Option<u64>) -> PastView {
        let name = |name: &str| ReplicaName::new(name).unwrap();
        PastView {
            view: ViewId {
                data_epoch: DataEpoch(0),
                view: ViewNumber(number),
            },
            began: (number > 1).then_some(WallTime(1_795_869_466_461_999_999)),
            primary: name("a"),
            backup: (number > 2).then(|| name("b")),
            cause,
            is_active: cause != Reason::NotActivated,
            gap_ms,
        }
    }

    fn reply() -> HistoryReply {
        HistoryReply {
            views: vec![
                view(1, Reason::Bootstrap, None),
                view(2, Reason::Died, Some(17)),
                view(3, Reason::Joined, None),
                view(4, Reason::NotActivated, None),
            ],
            remark: None,
        }
    }

    #[test]
    fn json_has_the_fields_of_the_interface() {
        let mut reply = reply();
        reply.views.drain(2..);
        let line = render(&Account::of(&reply), true);
        let expected = concat!(
            r#"{"views":[{"number":1,"time":null,"primary":"a","backup":null,"cause":"first view","#,
            r#""gap_ms":null,"active":true,"data_epoch":0},{"number":2,"#,
            r#""time":"2026-11-28T12:37:46.461Z","primary":"a","backup":null,"#,
            r#""cause":"the primary's process died","gap_ms":17,"active":true,"data_epoch":0}]}"#,
            "\n"
        );
        assert_eq!(line, expected);
        reply.remark = Some("earlier views are not known".to_owned());
        let line = render(&Account::of(&reply), true);
        assert!(
            line.ends_with("],\"missing\":\"earlier views are not known\"}\n"),
            "{line}"
        );
    }

    #[test]
    fn the_table_has_a_line_for_each_view() {
        let text = render(&Account::of(&reply()), false);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(
            lines,
            [
                "VIEW  TIME                      PRIMARY  BACKUP  GAP    CAUSE",
                "1     -                         a        -       -      first view",
                "2     2026-11-28T12:37:46.461Z  a        -       17 ms  the primary's process died",
                "3     2026-11-28T12:37:46.461Z  a        b       -      a spare became the backup",
                "4     2026-11-28T12:37:46.461Z  a        b       -      the candidate did not take \
                 over in time; it never served",
            ]
        );
    }
}
