/** What a program needs that releases a permit in place of its holder. */
export { releasePermit } from './operations.ts'
