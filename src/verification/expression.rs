//! What an expression means, as far as its text tells: the same for two texts that PostgreSQL writes of one expression.
//!
//! PostgreSQL keeps expressions parsed and puts parentheses around each operation when it writes them. Reading its own text it may move a cast
//! (`(ARRAY['a'::x])::y[]` becomes `ARRAY[('a'::x)::y]`) and with it the parentheses around it, and takes `(a AND b) AND c` for `a AND b AND c`. So
//! casts don't count, and of parentheses those that hold something together: more than one word, or a list.

/// A word, or something in parentheses or brackets.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Node {
    /// A name, an operator, a literal.
    Word(String),
    /// What stands in it, between commas.
    Group { bracket: Bracket, items: Vec<Item> },
}

/// What stands between two commas.
type Item = Vec<Node>;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Bracket {
    /// Parentheses by themselves.
    Plain,
    /// Those right behind a name: arguments.
    Call,
    /// `[…]`.
    Square,
}

/// What lies deeper is not told apart: a text from elsewhere must not fill our stack.
const DEEPEST: usize = 500;

/// The normal form of a definition.
pub fn normal(definition: &str) -> String {
    let mut rest = definition;
    let mut items = read(&mut rest, None, DEEPEST);
    items.iter_mut().for_each(simplify);
    let mut text = String::with_capacity(definition.len());
    write(&items, &mut text);
    text
}

/// Reads up to the closing letter, which is taken, or to the end. Never fails: a letter that closes nothing, or opens what lies too deep, is a
/// word.
fn read(rest: &mut &str, closing: Option<char>, deeper: usize) -> Vec<Item> {
    let mut items = Vec::new();
    let mut item = Item::new();
    // Whether the next letter belongs to the word before it.
    let mut joined = false;
    while let Some(letter) = rest.chars().next() {
        if let Some(cast) = rest.strip_prefix("::") {
            *rest = behind_type(cast);
            joined = false;
            continue;
        }
        let mut length = letter.len_utf8();
        if letter == '\'' || letter == '"' {
            // A doubled quote ends one text and begins the next at once.
            length = rest.get(1..).and_then(|text| text.find(letter)).map_or(rest.len(), |at| at + 2);
        }
        let (piece, behind) = rest.split_at_checked(length).unwrap_or((rest, ""));
        *rest = behind;
        match letter {
            _ if closing == Some(letter) => break,
            '(' | '[' if deeper > 0 => {
                let bracket = match letter {
                    '[' => Bracket::Square,
                    _ if joined && matches!(item.last(), Some(Node::Word(_))) => Bracket::Call,
                    _ => Bracket::Plain,
                };
                let items = read(rest, Some(if letter == '[' { ']' } else { ')' }), deeper - 1);
                item.push(Node::Group { bracket, items });
                joined = false;
            }
            ',' => {
                items.push(std::mem::take(&mut item));
                joined = false;
            }
            _ if letter.is_whitespace() => joined = false,
            _ => {
                match item.last_mut() {
                    Some(Node::Word(word)) if joined => word.push_str(piece),
                    _ => item.push(Node::Word(piece.to_owned())),
                }
                joined = true;
            }
        }
    }
    items.push(item);
    items
}

/// Takes parentheses away that hold nothing together.
fn simplify(item: &mut Item) {
    let mut simple = Item::with_capacity(item.len());
    for mut node in item.drain(..) {
        if let Node::Group { items, .. } = &mut node {
            items.iter_mut().for_each(simplify);
        }
        match node {
            Node::Group { bracket: Bracket::Plain, items } if matches!(items.as_slice(), [one] if is_primary(one)) => {
                simple.extend(items.into_iter().flatten());
            }
            node => simple.push(node),
        }
    }
    *item = flattened(simple);
    // All of it in parentheses of its own.
    while let [Node::Group { bracket: Bracket::Plain, items }] = item.as_mut_slice()
        && let [_] = items.as_slice()
    {
        *item = items.pop().unwrap_or_default();
    }
}

/// Whether it holds together by itself: a name or a literal, a call, an array.
fn is_primary(item: &Item) -> bool {
    let is_operand = |word: &str| {
        word != "NOT"
            && word.starts_with(|first: char| first.is_alphanumeric() || matches!(first, '_' | '"' | '\'' | '$'))
    };
    match item.as_slice() {
        [Node::Word(word)] | [Node::Word(word), Node::Group { bracket: Bracket::Call, .. }] => is_operand(word),
        [Node::Word(word), Node::Group { bracket: Bracket::Square, .. }] => word == "ARRAY",
        _ => false,
    }
}

/// `a AND (b AND c)` and `(a AND b) AND c` as `a AND b AND c`, and the same of OR.
fn flattened(item: Item) -> Item {
    let Some(operator) = operator_of(&item) else { return item };
    let operands: Vec<&[Node]> = item.split(|node| is_word(node, operator)).collect();
    let mut flat = Item::with_capacity(item.len());
    for (at, operand) in operands.into_iter().enumerate() {
        if at > 0 {
            flat.push(Node::Word(operator.to_owned()));
        }
        match operand {
            [Node::Group { bracket: Bracket::Plain, items }] if matches!(items.as_slice(), [one] if operator_of(one) == Some(operator)) =>
            {
                flat.extend(items.iter().flatten().cloned());
            }
            operand => flat.extend_from_slice(operand),
        }
    }
    flat
}

/// What joins the operands of an item, where it is AND alone or OR alone.
fn operator_of(item: &Item) -> Option<&'static str> {
    let has = |operator| item.iter().any(|node| is_word(node, operator));
    match (has("AND"), has("OR")) {
        (true, false) => Some("AND"),
        (false, true) => Some("OR"),
        _ => None,
    }
}

fn is_word(node: &Node, text: &str) -> bool {
    matches!(node, Node::Word(word) if word == text)
}

fn write(items: &[Item], text: &mut String) {
    for (at, item) in items.iter().enumerate() {
        if at > 0 {
            text.push(',');
        }
        for (at, node) in item.iter().enumerate() {
            if at > 0 {
                text.push(' ');
            }
            match node {
                Node::Word(word) => text.push_str(word),
                Node::Group { bracket, items } => {
                    let (open, close) = if *bracket == Bracket::Square { ('[', ']') } else { ('(', ')') };
                    text.push(open);
                    write(items, text);
                    text.push(close);
                }
            }
        }
    }
}

/// What stands behind the name of a type.
fn behind_type(text: &str) -> &str {
    const MORE: [&str; 8] = [
        " varying",
        " precision",
        " without time zone",
        " with time zone",
        " year to month",
        " day to second",
        " hour to minute",
        " minute to second",
    ];
    let mut rest = text;
    // The parts of a name that has a schema.
    loop {
        if let Some(quoted) = rest.strip_prefix('"') {
            rest = quoted.split_once('"').map_or("", |(_, behind)| behind);
        } else {
            rest = rest.trim_start_matches(|letter: char| letter.is_alphanumeric() || letter == '_' || letter == '$');
        }
        match rest.chars().next() {
            Some('"') => {}
            Some('.') => rest = rest.strip_prefix('.').unwrap_or_default(),
            _ => break,
        }
    }
    loop {
        let before = rest.len();
        for more in MORE {
            rest = rest.strip_prefix(more).unwrap_or(rest);
        }
        if let Some((inside, behind)) = rest.strip_prefix('(').and_then(|inside| inside.split_once(')'))
            && inside.bytes().all(|byte| byte.is_ascii_digit() || byte == b',')
        {
            rest = behind;
        }
        rest = rest.strip_prefix("[]").unwrap_or(rest);
        if rest.len() == before {
            return rest;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_postgresql_writes_anew_is_the_same() {
        for (before, after) in [
            (
                "CHECK (((state)::text = ANY ((ARRAY['a'::character varying, 'b (::x)'::character varying])::text[])))",
                "CHECK (((state)::text = ANY (ARRAY[('a'::character varying)::text, ('b (::x)'::character varying)::text])))",
            ),
            ("('now'::timestamp(3) without time zone)", "'now'"),
            ("x::app.\"Odd type\"[] || 1", "(x || 1)"),
            ("n::numeric(10,2) > 1", "n > 1"),
            ("CHECK ((((x >= 1) AND (x <= 5)) AND b))", "CHECK (((x >= 1) AND (x <= 5) AND b))"),
            ("(a OR (b OR (c AND d)))", "((a OR b) OR (c AND d))"),
            ("lower(((name)::text))", "lower((name)::text)"),
            ("(lower((name)::text) || 'x'::text)", "((lower(name))::character varying || 'x')"),
            ("SELECT a,\n    b\n   FROM t", " SELECT a, b FROM t"),
            ("", " "),
        ] {
            assert_eq!(normal(before), normal(after));
        }
    }

    #[test]
    fn what_means_something_else_is_not() {
        assert_ne!(normal(&"(".repeat(1 << 20)), normal(&"(".repeat(1 << 19)));
        for (one, other) in [
            ("CHECK (a > 1)", "CHECK (a > 2)"),
            ("'a b'", "'ab'"),
            ("'a' 'b'", "'a''b'"),
            ("CHECK (((a OR b) AND c))", "CHECK ((a OR (b AND c)))"),
            ("((a + b) * c)", "(a + (b * c))"),
            ("((a - b) - c)", "(a - (b - c))"),
            ("(NOT (a = b))", "((NOT a) = b)"),
            ("f((a, b))", "f(a, b)"),
            ("f(a + b, c)", "f(a, b + c)"),
            ("(- (a ^ b))", "((- a) ^ b)"),
            ("(NOT (a AND b))", "((NOT a) AND b)"),
            ("a[(b + c)]", "(a[b] + c)"),
            ("CREATE INDEX i ON t (lower(a), b)", "CREATE INDEX i ON t (lower(a, b))"),
        ] {
            assert_ne!(normal(one), normal(other));
        }
    }

    proptest! {
        #[test]
        fn whatever_is_written_has_a_normal_form(text in r#"[a-z'":()\[\], é.$&AND]{0,60}"#) {
            let once = normal(&text);
            prop_assert!(once.len() <= 2 * text.len() + 2);
        }

        #[test]
        fn more_parentheses_change_nothing(text in r"[ab]( (AND|OR|<|\+) ([ab]|\([ab] (AND|OR|<) [ab]\))){0,6}") {
            let once = normal(&text);
            prop_assert_eq!(&once, &normal(&format!("(({text}))")));
        }
    }
}
