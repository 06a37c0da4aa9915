/** The answers of commands: harmless in a terminal, whatever Redis contains. */
import type { OutputLine, Tone } from './command.ts'

/**
 * Control characters, separators of lines, lone surrogates, and signs that reorder or hide what stands
 * beside them. A terminal obeys them, or shows something else than there is.
 */
const HARMFUL = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/gu

const escapeOne = (sign: string): string => {
  const code = sign.codePointAt(0)!
  return code > 0xffff ? `\\u{${code.toString(16)}}` : `\\u${code.toString(16).padStart(4, '0')}`
}

/** Returns a string that a terminal prints as it is. */
export const escapeControls = (text: string): string => text.replace(HARMFUL, escapeOne)

const COLORS: Record<Tone, string> = { good: '32', review: '33', bad: '31', faint: '2' }

/** Returns a line as it is printed. */
export function formatLine(line: OutputLine, hasColors: boolean): string {
  if (typeof line === 'string') return escapeControls(line)
  const text = escapeControls(line.text)
  return hasColors ? `\u001b[${COLORS[line.tone]}m${text}\u001b[0m` : text
}

/** Returns a value as one JSON document. Control characters are escaped there, too. */
export const formatDocument = (value: unknown): string =>
  // JSON.stringify escapes C0 and lone surrogates, not the others. Inside a string it is the same.
  JSON.stringify(value, null, 2).replace(HARMFUL, (sign) =>
    sign === '\n'
      ? sign
      : [...Array(sign.length).keys()]
          .map((i) => `\\u${sign.charCodeAt(i).toString(16).padStart(4, '0')}`)
          .join(''),
  )

/** Returns rows as lines with aligned columns. The first row is the head. */
export function tableLines(rows: readonly (readonly (string | number)[])[]): OutputLine[] {
  const cells = rows.map((row) => row.map((cell) => escapeControls(String(cell))))
  const widths = (cells[0] ?? []).map((_, i) => Math.max(...cells.map((row) => row[i]!.length)))
  return cells.map((row, i) => {
    const text = row
      .map((cell, j) => cell.padEnd(widths[j]!))
      .join('  ')
      .trimEnd()
    return i === 0 ? { text, tone: 'faint' } : text
  })
}

/** Returns the order of two names. SCAN finds keys in any order: equal rows are shown by their names. */
export const compareNames = (a: string, b: string): number => (a < b ? -1 : Number(a > b))
