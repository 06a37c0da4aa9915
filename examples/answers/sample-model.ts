/** A model that costs nothing: it repeats the question. */
import { setTimeout as pause } from 'node:timers/promises'
import type { Models } from './answers.ts'

export const sampleModel: Models = {
  async *ask({ messages }) {
    const words = messages.at(-1)!.content.match(/\S+\s*/g) ?? []
    for (const text of words) {
      await pause(50)
      yield { text }
    }
    yield { tokens: words.length * 2, microdollars: words.length * 3 }
  },
  /** Counts letters. */
  async embed(text) {
    const vector = new Float32Array(26)
    for (const letter of text.toLowerCase().match(/[a-z]/g) ?? [])
      vector[letter.charCodeAt(0) - 97]!++
    return vector
  },
}
