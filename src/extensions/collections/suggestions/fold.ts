/** Terms as they are compared: without case, accents and superfluous blanks. */

/** Letters that Unicode does not decompose, as people type them. Sigma has another form at the end of a word. */
const LETTERS: Readonly<Record<string, string>> = {
  ß: 'ss',
  æ: 'ae',
  œ: 'oe',
  ø: 'o',
  đ: 'd',
  ð: 'd',
  ħ: 'h',
  ı: 'i',
  ł: 'l',
  þ: 'th',
  ς: 'σ',
}
const SPECIAL = new RegExp(`[${Object.keys(LETTERS).join('')}]`, 'g')
/** Accents of Latin, Greek and Cyrillic. Vowel signs of other scripts are no accents, and stay. */
const ACCENTS = /[\u0300-\u036f]/g

/** Returns a term as it is compared. A prefix of a term folds to a prefix of the folded term. */
export function foldTerm(text: string): string {
  return text
    .normalize('NFKD')
    .toLowerCase()
    .replace(ACCENTS, '')
    .replace(SPECIAL, (letter) => LETTERS[letter]!)
    .replace(/[\s\p{Cc}]+/gu, ' ')
    .trimStart()
}
