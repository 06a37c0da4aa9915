/** The algorithms. A line here is all that makes one usable: options, scripts and the in-process engine follow. */
export { fixedWindow } from './fixed-window/index.ts'
export { gcra } from './gcra/index.ts'
export { slidingWindow } from './sliding-window/index.ts'
