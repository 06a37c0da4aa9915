/** Answers of a language model: each question is asked and paid for once. */
import { counters } from 'turnpike/collections'
import type { ExpressTurnpike } from 'turnpike/express'

export interface Question {
  model: string
  messages: { role: string; content: string }[]
  temperature: number
}

/** What a model streams: parts of the answer, and at the end what it has cost. */
export type Part = { text: string } | { tokens: number; microdollars: number }

export interface Models {
  ask(question: Question): AsyncIterable<Part>
  embed(text: string): Promise<Float32Array>
}

interface Answer {
  /** As they were streamed, so that they can be streamed again. */
  parts: string[]
  tokens: number
  microdollars: number
}

export function createAnswers(tp: ExpressTurnpike, { ask, embed }: Models) {
  const answers = tp.data.namespace('answer', { ttl: '1h' })
  const saved = counters(tp, 'answers', {
    ttl: '30d',
    fields: ['answers', 'tokens', 'microdollars'],
  })

  async function load(question: Question, onPart: (text: string) => void): Promise<Answer> {
    const answer: Answer = { parts: [], tokens: 0, microdollars: 0 }
    for await (const part of ask(question)) {
      if ('text' in part) {
        answer.parts.push(part.text)
        onPart(part.text)
      } else Object.assign(answer, part)
    }
    return answer
  }

  return {
    /**
     * Answers a question. The first caller gets the parts as the model streams them. Callers that
     * come meanwhile or later get the same parts when all are there, and pay nothing.
     */
    async answer(question: Question, onPart: (text: string) => void) {
      let isAsked = false
      // The hash does not depend on the order of properties.
      const { parts, tokens, microdollars } = await answers.getOrFetch(
        answers.hash(question),
        () => {
          isAsked = true
          return load(question, onPart)
        },
        { wait: '2m', lease: '2m' },
      )
      if (!isAsked) {
        for (const part of parts) onPart(part)
        saved.add(question.model, { answers: 1, tokens, microdollars })
      }
      return { text: parts.join(''), tokens, cached: !isAsked }
    },
    saved: (model: string) => saved.get(model),
    /** An embedding is stored as its bytes. */
    embed: tp.data.wrap(embed, { name: 'embedding', ttl: '7d' }),
  }
}
