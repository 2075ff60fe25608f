//! Writes all mutants of a file into it at once, each behind a switch that is asked when the program runs.
//!
//! cargo-mutants changes text, and an operator in the place of another binds as it does: `a && b && c` with `||` first is
//! `a || (b && c)`. What stands behind a switch says the same. What cannot stand behind one (what is constant, deleted
//! fields, chains with a `let` in them, arithmetic in arithmetic) is left out, and so is what the compiler refuses: those
//! are built one by one.

use std::collections::{BTreeMap, BTreeSet};
use std::mem::discriminant;
use std::ops::Range;

use serde_json::Value;
use syn::spanned::Spanned;
use syn::visit::{self, Visit};
use syn::{Arm, BinOp, Expr, ExprBinary, ExprMatch, ExprUnary, Pat, UnOp};

/// One change that cargo-mutants would make.
#[derive(Debug, Clone)]
pub struct Mutant {
    /// From 1: 0 is the program as it is.
    pub number: u32,
    /// As cargo-mutants calls it.
    pub name: String,
    /// The file, below the root of the workspace.
    pub file: String,
    /// The change as a patch of that file.
    pub patch: String,
    genre: String,
    replacement: String,
    /// Whether its function returns some type that is not named.
    opaque: bool,
    /// Where the change begins: a line and a column, both from 1.
    start: (usize, usize),
}

impl Mutant {
    /// Out of the list that `cargo mutants --list --json` prints.
    pub fn read(number: u32, value: &Value) -> Option<Self> {
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let place = |name: &str| usize::try_from(value["span"]["start"][name].as_u64()?).ok();
        Some(Self {
            number,
            name: text(&value["name"])?,
            file: text(&value["file"])?,
            patch: text(&value["diff"])?,
            genre: text(&value["genre"])?,
            replacement: text(&value["replacement"])?,
            opaque: value["function"]["return_type"].as_str().is_some_and(|kind| kind.contains("impl ")),
            start: (place("line")?, place("column")?),
        })
    }

    /// The operator that it puts in the place of another.
    fn operator(&self) -> &str {
        self.replacement.trim()
    }
}

/// Something that is written around a part of a file, or into it.
struct Edit {
    /// What is between `before` and `after`; nothing for an insertion.
    around: Range<usize>,
    before: String,
    after: String,
    /// A token that gives way to other text.
    instead: Option<(Range<usize>, String)>,
    mutants: Vec<u32>,
    /// The part of `before` that the mutant itself says.
    value: Range<usize>,
}

/// A piece of text in the rewritten file.
struct Piece {
    range: Range<usize>,
    edit: usize,
}

/// A rewritten file.
pub struct Rewritten {
    /// What it reads now.
    pub text: String,
    /// Those that stand behind a switch.
    pub mutants: BTreeSet<u32>,
    edits: Vec<Edit>,
    pieces: Vec<Piece>,
    wholes: Vec<Range<usize>>,
    opaque: BTreeSet<u32>,
}

/// What the compiler's complaint means.
pub enum Blame {
    /// These cannot stand behind a switch.
    NoSwitch(Vec<u32>),
    /// This one says something that does not compile wherever it stands.
    Unviable(u32),
}

struct Finder<'a> {
    text: &'a str,
    by_place: BTreeMap<usize, Vec<&'a Mutant>>,
    edits: Vec<Edit>,
    /// The operators that are inside of a chain of the same kind, or are arithmetic in arithmetic: where they stand,
    /// and whether they can stand behind a switch.
    inner: BTreeMap<usize, bool>,
}

impl Finder<'_> {
    fn at(&self, place: usize, genre: &str) -> Vec<&Mutant> {
        let here = self.by_place.get(&place).into_iter().flatten();
        here.copied().filter(|mutant| mutant.genre == genre).collect()
    }

    fn wrap(&mut self, around: Range<usize>, before: String, after: String, mutants: Vec<u32>) -> &mut Edit {
        self.edits.push(Edit { around, before, after, instead: None, mutants, value: 0..0 });
        let last = self.edits.len() - 1;
        &mut self.edits[last]
    }
}

/// Whether it is a chain with a `let` in it, which stands only where it stands.
fn has_let(expression: &Expr) -> bool {
    match expression {
        Expr::Let(_) => true,
        Expr::Binary(binary) => has_let(&binary.left) || has_let(&binary.right),
        _ => false,
    }
}

fn range(node: &impl Spanned) -> Range<usize> {
    node.span().byte_range()
}

/// Operators that bind in an order of their own, where another one in their place would change it.
fn is_arithmetic(operator: &BinOp) -> bool {
    use BinOp::{Add, BitAnd, BitOr, BitXor, Div, Mul, Rem, Shl, Shr, Sub};
    matches!(
        operator,
        Add(_) | Sub(_) | Mul(_) | Div(_) | Rem(_) | BitAnd(_) | BitOr(_) | BitXor(_) | Shl(_) | Shr(_)
    )
}

impl Finder<'_> {
    /// Whether the operator can stand behind a switch. The outermost of a chain puts a block around it, which an
    /// operator that decides the whole of it leaves.
    fn is_able(&mut self, node: &ExprBinary, around: &Range<usize>) -> bool {
        if is_arithmetic(&node.op) {
            let outer = !self.inner.contains_key(&range(&node.op).start);
            let mut inside = false;
            for side in [&node.left, &node.right] {
                if let Expr::Binary(binary) = &**side {
                    inside = true;
                    self.inner.insert(range(&binary.op).start, false);
                }
            }
            return outer && !inside;
        }
        if !matches!(node.op, BinOp::And(_) | BinOp::Or(_)) {
            return true;
        }
        if let Some(able) = self.inner.get(&range(&node.op).start) {
            return *able;
        }
        let able = !has_let(&node.left) && !has_let(&node.right);
        let (mut numbers, mut outer) = (Vec::new(), node);
        loop {
            let place = range(&outer.op).start;
            self.inner.insert(place, able);
            numbers.extend(self.at(place, "BinaryOperator").into_iter().map(|mutant| mutant.number));
            match &*outer.left {
                Expr::Binary(inner) if discriminant(&inner.op) == discriminant(&node.op) => outer = inner,
                _ => break,
            }
        }
        if able && !numbers.is_empty() {
            self.wrap(around.clone(), "('chain: { ".into(), " })".into(), numbers);
        }
        able
    }
}

impl<'ast> Visit<'ast> for Finder<'_> {
    fn visit_expr_binary(&mut self, node: &'ast ExprBinary) {
        let token = range(&node.op);
        let found: Vec<_> = self.at(token.start, "BinaryOperator").into_iter().cloned().collect();
        let numbers: Vec<u32> = found.iter().map(|mutant| mutant.number).collect();
        let around = range(&node.left).start..range(&node.right).end;
        let able = self.is_able(node, &around);
        if let [first, ..] = found.as_slice() {
            let number = first.number;
            match node.op {
                BinOp::And(_) | BinOp::Or(_) if able => {
                    // Once it is decided, what comes after in the chain is not asked: with `||` instead of `&&` by a
                    // true one on the left, in a chain of `||` by any true one but at the mutant's place.
                    let (not, decided) = match node.op {
                        BinOp::Or(_) => ("!", format!("!crate::mutant::is({number})")),
                        _ => ("", format!("crate::mutant::is({number})")),
                    };
                    let middle = format!(
                        "; if first && {decided} {{ break 'chain true; }} \
                         if first ^ {not}crate::mutant::is({number}) {{ "
                    );
                    let edit = self.wrap(
                        around,
                        "({ let first: bool = ".into(),
                        " } else { first } })".into(),
                        numbers,
                    );
                    edit.instead = Some((token, middle));
                }
                BinOp::Eq(_) | BinOp::Ne(_) => {
                    let not = if matches!(node.op, BinOp::Ne(_)) { "!" } else { "" };
                    let edit = self.wrap(
                        around,
                        format!("({not}crate::mutant::equal(&("),
                        format!("), {number}))"),
                        numbers,
                    );
                    edit.instead = Some((token, "), &(".into()));
                }
                BinOp::Lt(_) | BinOp::Le(_) | BinOp::Gt(_) | BinOp::Ge(_) => {
                    let operator = match node.op {
                        BinOp::Lt(_) => "<",
                        BinOp::Le(_) => "<=",
                        BinOp::Gt(_) => ">",
                        _ => ">=",
                    };
                    let others =
                        found.iter().map(|mutant| format!("({}, {:?})", mutant.number, mutant.operator()));
                    let others: Vec<_> = others.collect();
                    let after = format!("), {operator:?}, &[{}])", others.join(", "));
                    let edit = self.wrap(around, "crate::mutant::order(&(".into(), after, numbers);
                    edit.instead = Some((token, "), &(".into()));
                }
                BinOp::And(_) | BinOp::Or(_) => {}
                _ if !able => {}
                _ => {
                    // Arithmetic. What is assigned to is a plain place, written down anew for each operator.
                    let operator = self.text[token.clone()].to_owned();
                    let assigns = operator.ends_with('=');
                    let left = if assigns { &self.text[range(&node.left)] } else { "left" };
                    let mut after = "); ".to_owned();
                    for mutant in &found {
                        let other = format!("{left} {} right", mutant.operator());
                        after.push_str(&format!(
                            "if crate::mutant::is({}) {{ {other} }} else ",
                            mutant.number
                        ));
                    }
                    after.push_str(&format!("{{ {left} {operator} right }} }}"));
                    if assigns {
                        let edit = self.wrap(around.clone(), "{ let right = (".into(), after, numbers);
                        edit.instead = Some((around.start..token.end, String::new()));
                    } else {
                        let edit = self.wrap(around, "({ let (left, right) = (".into(), after + ")", numbers);
                        edit.instead = Some((token, ", ".into()));
                    }
                }
            }
        }
        visit::visit_expr_binary(self, node);
    }

    fn visit_expr_unary(&mut self, node: &'ast ExprUnary) {
        let token = range(&node.op);
        let number = self.at(token.start, "UnaryOperator").first().map(|mutant| mutant.number);
        if let (UnOp::Not(_), Some(number)) = (&node.op, number) {
            let around = token.start..range(&*node.expr).end;
            let edit = self.wrap(around, String::new(), "))".into(), vec![number]);
            edit.instead = Some((token, format!("(!crate::mutant::is({number}) ^ (")));
        }
        visit::visit_expr_unary(self, node);
    }

    fn visit_expr_match(&mut self, node: &'ast ExprMatch) {
        let rest = |arm: &Arm| matches!(arm.pat, Pat::Wild(_)) && arm.guard.is_none();
        let has_rest = node.arms.iter().any(rest);
        node.arms.iter().for_each(|arm| self.arm(arm, has_rest));
        visit::visit_expr_match(self, node);
    }
}

impl Finder<'_> {
    /// An arm of a match; whether it may be gone (what it took goes to the rest).
    fn arm(&mut self, node: &Arm, has_rest: bool) {
        let gone = self.at(range(node).start, "MatchArm").first().map(|mutant| mutant.number);
        let gone = gone.filter(|_| has_rest);
        match &node.guard {
            None => {
                if let Some(gone) = gone {
                    let end = range(&node.pat).end;
                    self.wrap(end..end, format!(" if !crate::mutant::is({gone})"), String::new(), vec![gone]);
                }
            }
            Some((_, guard)) if !has_let(guard) => {
                let around = range(&**guard);
                let found: Vec<_> = self.at(around.start, "MatchArmGuard").into_iter().cloned().collect();
                let (mut before, mut after) = (String::new(), String::new());
                if let Some(gone) = gone {
                    before.push_str(&format!("!crate::mutant::is({gone}) && "));
                }
                for mutant in &found {
                    let number = mutant.number;
                    before.push_str(&match mutant.operator() {
                        "true" => format!("(crate::mutant::is({number}) || "),
                        _ => format!("(!crate::mutant::is({number}) && "),
                    });
                    after.push(')');
                }
                before.push('(');
                after.push(')');
                let numbers: Vec<u32> = found.iter().map(|mutant| mutant.number).chain(gone).collect();
                if !numbers.is_empty() {
                    self.wrap(around, before, after, numbers);
                }
            }
            Some(_) => {}
        }
    }
}

/// The byte at which a line and a column begin, both counted from 1, the column in characters.
fn place(text: &str, (line, column): (usize, usize)) -> usize {
    let start: usize = text.split_inclusive('\n').take(line - 1).map(str::len).sum();
    let before: usize = text[start..].chars().take(column - 1).map(char::len_utf8).sum();
    start + before
}

impl Rewritten {
    /// Writes those of `mutants` that are in this file and not in `without` into it.
    pub fn new(text: &str, mutants: &[&Mutant], without: &BTreeSet<u32>) -> Result<Self, String> {
        let file = syn::parse_file(text).map_err(|error| error.to_string())?;
        let mut finder =
            Finder { text, by_place: BTreeMap::new(), edits: Vec::new(), inner: BTreeMap::new() };
        for mutant in mutants.iter().filter(|mutant| !without.contains(&mutant.number)) {
            let start = place(text, mutant.start);
            finder.by_place.entry(start).or_default().push(mutant);
        }
        let bodies: Vec<(usize, Mutant)> = finder
            .by_place
            .iter()
            .flat_map(|(place, mutants)| mutants.iter().map(|mutant| (*place, (*mutant).clone())))
            .filter(|(_, mutant)| mutant.genre == "FnValue")
            .collect();
        for (place, Mutant { number, replacement, .. }) in bodies {
            let head = format!("if crate::mutant::is({number}) {{ return ");
            let value = head.len()..head.len() + replacement.len();
            let before = format!("{head}{replacement}; }} ");
            finder.wrap(place..place, before, String::new(), vec![number]).value = value;
        }
        finder.visit_file(&file);
        let opaque = mutants.iter().filter(|mutant| mutant.opaque).map(|mutant| mutant.number).collect();
        Ok(Self::write(text, finder.edits, opaque))
    }

    fn write(text: &str, edits: Vec<Edit>, opaque: BTreeSet<u32>) -> Self {
        // At one place: what ends there, the innermost first; insertions; what begins there, the outermost first.
        let mut events: Vec<(usize, u8, usize, usize, usize)> = Vec::new();
        for (index, edit) in edits.iter().enumerate() {
            let Range { start, end } = edit.around;
            if start == end {
                events.push((start, 1, 0, index, 0));
                continue;
            }
            events.push((start, 2, usize::MAX - end, index, 0));
            events.push((end, 0, usize::MAX - start, usize::MAX - index, 1));
            if let Some((token, _)) = &edit.instead {
                events.push((token.start, 3, 0, index, 2));
            }
        }
        events.sort_unstable();
        let (mut out, mut at) = (String::new(), 0);
        let mut pieces = Vec::new();
        let mut wholes: Vec<Range<usize>> = vec![0..0; edits.len()];
        for (place, _, _, index, kind) in events {
            out.push_str(&text[at..place]);
            at = place;
            let index = if kind == 1 { usize::MAX - index } else { index };
            let edit = &edits[index];
            let start = out.len();
            match (kind, &edit.instead) {
                (0, _) => {
                    out.push_str(&edit.before);
                    wholes[index] = start..out.len();
                }
                (1, _) => {
                    out.push_str(&edit.after);
                    wholes[index].end = out.len();
                }
                (_, Some((token, middle))) => {
                    out.push_str(middle);
                    at = token.end;
                }
                _ => {}
            }
            pieces.push(Piece { range: start..out.len(), edit: index });
        }
        out.push_str(&text[at..]);
        let mutants = edits.iter().flat_map(|edit| edit.mutants.iter().copied()).collect();
        Self { text: out, mutants, edits, pieces, wholes, opaque }
    }

    /// Who is to blame for a complaint about a part of this file.
    pub fn blame(&self, part: &Range<usize>) -> Option<Blame> {
        let touches = |range: &Range<usize>| range.start < part.end && part.start < range.end;
        for (edit, whole) in self.edits.iter().zip(&self.wholes) {
            let value = whole.start + edit.value.start..whole.start + edit.value.end;
            if let ([number], true) = (edit.mutants.as_slice(), touches(&value) && !edit.value.is_empty()) {
                let inside = value.start <= part.start && part.end <= value.end;
                if inside && !self.opaque.contains(number) {
                    return Some(Blame::Unviable(*number));
                }
            }
        }
        let touched = self.pieces.iter().filter(|piece| touches(&piece.range));
        let numbers: BTreeSet<u32> =
            touched.flat_map(|piece| self.edits[piece.edit].mutants.iter().copied()).collect();
        if !numbers.is_empty() {
            return Some(Blame::NoSwitch(numbers.into_iter().collect()));
        }
        let around = self.edits.iter().zip(&self.wholes);
        let innermost = around
            .filter(|(_, whole)| whole.start <= part.start && part.end <= whole.end)
            .min_by_key(|(_, whole)| whole.len())?;
        Some(Blame::NoSwitch(innermost.0.mutants.clone()))
    }
}
