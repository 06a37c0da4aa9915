/** Places a subject in one of 2^32 buckets: the same one in every process, another one for each flag. */

export const BUCKETS: number = 2 ** 32

/**
 * Returns the bucket of a subject: MurmurHash3 (Appleby, 2011; the 32-bit variant) over the UTF-16
 * code units of its name. Subjects below a bucket stay below it when it is raised.
 * @param seed of the flag, so that not always the same subjects are the first
 */
export function bucketOf(subject: string, seed: number): number {
  let hash = seed
  const { length } = subject
  for (let i = 0; i + 1 < length; i += 2)
    hash = mixed(hash, subject.charCodeAt(i) | (subject.charCodeAt(i + 1) << 16))
  if (length % 2 === 1) hash ^= scrambled(subject.charCodeAt(length - 1))
  hash ^= length * 2
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b)
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35)
  return (hash ^ (hash >>> 16)) >>> 0
}

function mixed(hash: number, block: number): number {
  const next = hash ^ scrambled(block)
  return (Math.imul((next << 13) | (next >>> 19), 5) + 0xe6546b64) | 0
}

function scrambled(block: number): number {
  const product = Math.imul(block, 0xcc9e2d51)
  return Math.imul((product << 15) | (product >>> 17), 0x1b873593)
}
