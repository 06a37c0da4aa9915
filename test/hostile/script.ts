/** What one hostile client does with its connection, step by step. */
import type { Random } from './random.ts'

export type Step =
  | { readonly write: Buffer }
  /** Waits for a turn of the event loop, for bytes of the server, or for some ms. */
  | { readonly wait: 'turn' | 'answer' | 'bytes' | number }
  /** Ends its own half of the connection. */
  | { readonly finish: true }
  /** Reads nothing more, or reads again. */
  | { readonly read: boolean }

/** Returns bytes in one to four pieces, with a turn of the event loop between them. */
export function inPieces(random: Random, bytes: Buffer): Step[] {
  const cuts = Array.from({ length: random.pick([0, 0, 0, 1, 1, 3]) }, () =>
    random.int(bytes.length + 1),
  )
  const ends = [...cuts.toSorted((a, b) => a - b), bytes.length]
  return ends.flatMap((end, i) => {
    const write = bytes.subarray(i === 0 ? 0 : ends[i - 1], end)
    return i === 0 ? [{ write }] : [{ wait: 'turn' } as const, { write }]
  })
}

/** How long a client waits for bytes, in ms: for an answer that must come, and for any. */
export const PATIENCE = { answer: 500, bytes: 25 }

/**
 * Returns how a connection ends. Behind the last step it is reset.
 * @param isWhole true if the server has reason to answer
 */
export function ending(random: Random, isWhole: boolean): Step[] {
  const answer: Step = { wait: isWhole ? 'answer' : 'bytes' }
  const patience: Step = { wait: random.int(15) }
  return random.pick<Step[]>([
    // Before the request was read.
    [],
    // While its handler runs.
    [{ wait: 1 + random.int(6) }],
    // At the head of the response.
    [answer],
    // Within the body.
    [answer, { wait: 'turn' }, { read: false }, { wait: 'turn' }],
    [answer, { wait: 'bytes' }],
    // After all.
    [answer, patience],
    [answer, patience],
    [answer, patience],
    // Half closed.
    [{ finish: true }, answer, patience],
    [{ finish: true }, patience],
  ])
}
