/**
 * What was measured, in `figures.json`: docs/performance.md is made from it. Each section stands by
 * itself, so that a run that was cut off can go on, and one section can be measured again.
 */
import { createHash } from 'node:crypto'
import { existsSync, readFileSync, readdirSync, writeFileSync } from 'node:fs'
import path from 'node:path'

const FILE = path.join(import.meta.dirname, 'figures.json')

export const readFigures = () =>
  existsSync(FILE) ? JSON.parse(readFileSync(FILE, 'utf8')) : { sections: {} }

export class Figures {
  #build
  #resume
  #kept = readFigures()

  /** @param resume leave out what was measured of the same build */
  constructor(folder, { resume = false } = {}) {
    this.#build = digestOf(path.join(folder, 'dist'))
    this.#resume = resume
  }

  /** Stores what `measure` returns as the figures of a section. */
  async of(section, measure) {
    const before = this.#kept.sections[section]
    if (this.#resume && before?.build === this.#build) return before.figures
    const figures = round(await measure())
    this.#kept.sections[section] = { build: this.#build, figures }
    this.#write()
    return figures
  }

  /** Forgets the sections that no run writes any more. */
  keepOnly(isWanted) {
    for (const name of Object.keys(this.#kept.sections)) {
      if (!isWanted(name)) delete this.#kept.sections[name]
    }
    this.#write()
  }

  #write() {
    const sorted = Object.entries(this.#kept.sections).sort(([a], [b]) => (a < b ? -1 : 1))
    writeFileSync(
      FILE,
      `${JSON.stringify({ sections: Object.fromEntries(sorted) }, undefined, 1)}\n`,
    )
  }
}

/** Rounds to four digits. */
function round(value) {
  return JSON.parse(
    JSON.stringify(value, (_name, each) =>
      typeof each === 'number' && !Number.isInteger(each) ? Number(each.toPrecision(4)) : each,
    ),
  )
}

function digestOf(folder) {
  const hash = createHash('sha256')
  const files = readdirSync(folder, { recursive: true }).filter((file) => /\.[cm]js$/.test(file))
  for (const file of files.toSorted((a, b) => (a < b ? -1 : 1)))
    hash.update(readFileSync(path.join(folder, file)))
  return hash.digest('hex').slice(0, 12)
}
