//! The certificate's page in a real browser: it fits a phone and paper, has its charts, and asks the network for nothing. What was seen is kept as
//! pictures below `target/tmp/certificate`.

use std::fs;
use std::path::PathBuf;

use jiff::{SignedDuration, Timestamp};
use pgbackup::certificate::{Backup, Certificate, Point, Work};
use pgbackup::verification::{Checked, Difference, NotCompared, Reason, TableRows, Verification};

use crate::host::Host;

/// Width of a small phone.
const PHONE: &str = "360";
/// Days that the charts cover.
const DAYS: u16 = 90;

/// Much of everything, and words that are too long for a phone.
fn certificate() -> Certificate {
    let word = "a_word_that_no_blank_divides_".repeat(5);
    let table = |number: u64| TableRows {
        table: if number == 7 { format!("public.\"{word}\"") } else { format!("public.table_number_{number}") },
        expected: Some(number * 1_234_567_890_123),
        found: (number != 7).then_some(number * 1_234_567_890_123),
    };
    let checked = |passed| Checked {
        check: "orders-without-customer".parse().unwrap(),
        sql: format!("SELECT count(*) FROM {word} WHERE {word} IS NULL").parse().unwrap(),
        expected: "at least 500".to_owned(),
        found: word.clone(),
        passed,
    };
    let differ = |what: &str| Difference { what: what.to_owned(), expected: word.clone(), found: "none".to_owned() };
    Certificate {
        format: Certificate::FORMAT,
        work: Work::Verify,
        passed: false,
        service: "prod".parse().unwrap(),
        host: "dokku.example".to_owned(),
        user: "root".to_owned(),
        name: word.clone(),
        began: Timestamp::UNIX_EPOCH,
        seconds: 12.34,
        backup: Backup {
            source: "postgres-prod-2026-11-23-11-00-04.tgz".to_owned(),
            destination: Some(format!("s3://bucket/{word}")),
            sha256_behind_head: Some("a5bbdc16a3d8db654958da1ca9b2fe6b62321dc54abc8604178c31e90aa1c5a3".to_owned()),
            ..Backup::default()
        },
        image: "postgres:15.18".to_owned(),
        version: "0.1.0".to_owned(),
        verification: Verification {
            tables: (0..120).map(table).collect(),
            checks: vec![checked(true), checked(false)],
            differences: vec![differ(&format!("table public.\"{word}\"")), differ("index public.users_mail")],
            notes: vec![differ("extension citext")],
            not_compared: vec![NotCompared { table: word.clone(), reason: Reason::Inserts }],
            compared: 1234,
        },
    }
}

/// Opens a page in the browser; what it has seen.
fn look(name: &str, html: &str) -> serde_json::Value {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("certificate");
    fs::create_dir_all(&folder).unwrap();
    let file = |ending: &str| folder.join(format!("{name}.{ending}")).to_str().unwrap().to_owned();
    let (page, shot, print) = (file("html"), file("png"), file("pdf"));
    fs::write(&page, html).unwrap();
    for before in [&shot, &print] {
        let _ = fs::remove_file(before);
    }
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/browser/look.py");
    let seen = Host::anywhere("/usr/bin/python3", &[script, &page, PHONE, &shot, &print]).run().succeeds().json();
    assert!(fs::metadata(&shot).unwrap().len() > 10_000 && fs::metadata(&print).unwrap().len() > 10_000);
    assert_eq!((&seen["loaded"], &seen["printed"]), (&true.into(), &true.into()));
    seen
}

#[test]
fn the_page_fits_a_phone_and_paper_and_asks_the_network_for_nothing() {
    let now: Timestamp = "2026-11-23T12:00:00Z".parse().unwrap();
    let point = |day: u16| Point {
        started: now - SignedDuration::from_hours(24 * i64::from(DAYS - day)),
        bytes: 1_000_000_000 + u64::from(day) * 10_000_000,
        rows: u64::from(day * day),
    };
    let page = certificate().html(&(0..DAYS).map(point).collect::<Vec<_>>());
    let seen = look("page", &page);
    let asked_for: Vec<&str> = seen["asked_for"].as_array().unwrap().iter().map(|url| url.as_str().unwrap()).collect();
    assert!(matches!(asked_for.as_slice(), [page] if page.starts_with("file:///")), "{asked_for:?}");
    let number = |of: &str, what: &str| seen[of][what].as_f64().unwrap_or_else(|| panic!("{of} {what}: {}", seen[of]));
    for (width, of, smallest) in [(360.0, "phone", 12.0), (680.0, "paper", 12.0)] {
        assert!((number(of, "width") - width).abs() < 1.0, "{of}: {}", number(of, "width"));
        assert!(number(of, "scrolls") <= width, "{of}: {} pixels wide", number(of, "scrolls"));
        assert_eq!(seen[of]["sticks_out"], serde_json::json!([]), "{of}");
        assert!(number(of, "smallest") >= smallest && number(of, "smallest_drawn") >= smallest - 1.0, "{of}");
        // Two charts, each with a line over its whole width and a dot for each backup.
        let lines = seen[of]["lines"].as_array().unwrap();
        assert_eq!((lines.len(), &seen[of]["dots"]), (2, &(2 * DAYS).into()), "{of}");
        for line in lines {
            let (wide, high) = (line[0].as_f64().unwrap(), line[1].as_f64().unwrap());
            assert!(wide > width * 0.8 && high > 15.0, "{of}: a line {wide} wide and {high} high");
        }
        for word in
            ["FAILED", "Size of each backup", "table_number_119", "orders-without-customer", "INSERT statements"]
        {
            assert!(seen[of]["text"].as_str().unwrap().contains(word), "{of}: {word}");
        }
    }
    assert_eq!(seen["shot"]["width"], 360);
    assert!(seen["shot"]["colours"].as_u64().unwrap() > 10, "{}", seen["shot"]);
    let sheets = seen["sheets"].as_u64().unwrap();
    assert!((3..20).contains(&sheets), "{sheets} sheets");

    // The same eyes see what is wrong.
    let wrong = "<img src=\"http://192.0.2.1/x.png\"/><div class=\"wide\" style=\"width: 700px; font-size: 5px\">wide</div></body>";
    let seen = look("wrong", &page.replace("</body>", wrong).replace("<polyline", "<g"));
    assert!(seen["asked_for"].to_string().contains("http://192.0.2.1/x.png"));
    for of in ["phone", "paper"] {
        assert_eq!(seen[of]["sticks_out"], serde_json::json!(["DIV.wide wide"]), "{of}");
        assert_eq!((&seen[of]["smallest"], &seen[of]["lines"]), (&5.into(), &serde_json::json!([])), "{of}");
    }
}
