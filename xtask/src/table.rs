//! Tables in Markdown whose columns are also aligned in plain text: the same for the terminal and for the report.

/// A table of text cells. All but the first column are numbers, and stand on the right.
pub fn markdown(head: &[&str], rows: &[Vec<String>]) -> String {
    let width = |column: usize| {
        let cells = rows.iter().map(|row| row[column].chars().count());
        cells
            .chain([head[column].chars().count(), 3])
            .max()
            .unwrap_or(0)
    };
    let widths: Vec<usize> = (0..head.len()).map(width).collect();
    let line = |cells: Vec<&str>| {
        let cells = cells.iter().zip(&widths).enumerate();
        let padded = cells.map(|(column, (cell, &width))| match column {
            0 => format!(" {cell:<width$} |"),
            _ => format!(" {cell:>width$} |"),
        });
        format!("|{}\n", padded.collect::<String>())
    };
    let rule = widths.iter().enumerate().map(|(column, &width)| {
        let dashes = "-".repeat(width + 1);
        let colon = if column == 0 { "-" } else { ":" };
        format!("{dashes}{colon}|")
    });
    let mut text = line(head.to_vec());
    text += &format!("|{}\n", rule.collect::<String>());
    for row in rows {
        text += &line(row.iter().map(String::as_str).collect());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned() {
        let rows = [
            vec!["a".to_owned(), "1.00".to_owned()],
            vec!["longer".to_owned(), "12.00".to_owned()],
        ];
        let expected =
            "| name   |     s |\n|--------|------:|\n| a      |  1.00 |\n| longer | 12.00 |\n";
        assert_eq!(markdown(&["name", "s"], &rows), expected);
    }
}
