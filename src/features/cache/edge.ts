/** Requests of which the like has been answered from this process: `tp.edge()` answers them itself. */
import { BoundedMap } from '../../caching/bounded-map.ts'
import type { Plan } from '../../http/exchange.ts'
import type { Asked } from './reply.ts'
import type { Target } from './targets.ts'

/** Answers from the process alone: see `nearby`. */
export type Nearby = (
  target: Target,
  asked: Asked,
  detail?: string,
) => Plan | Promise<Plan> | undefined

const REMEMBERED = 10_000

/** What the mounts of one instance have answered, by how the requests looked when they arrived. */
export class Edge {
  readonly #known = new BoundedMap<{ target: Target; answer: Nearby }>(REMEMBERED)

  /** The cache has answered a request that arrived like this, with nothing but the request to go by. */
  learn(wire: string, target: Target, answer: Nearby): void {
    this.#known.set(wire, { target, answer })
  }

  /** The same answer for another one, as long as it is good; undefined: the application has to be asked. */
  answer(wire: string, asked: Asked): Plan | Promise<Plan> | undefined {
    const known = this.#known.get(wire)
    return known?.answer(known.target, asked, '; detail=edge')
  }
}
