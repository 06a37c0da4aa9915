/** Who holds a lease. The owner stands in Redis, so that any process can name the holder. */
import { randomBytes } from 'node:crypto'
import { hostname } from 'node:os'

const HOST =
  hostname()
    .replaceAll(/[^\w.-]/g, '_')
    .slice(0, 63) || 'localhost'

/**
 * The owner of all leases of this process: host, process ID and a random part. Process IDs repeat
 * in containers. The random part keeps two processes from taking each other's leases for their own.
 */
export const PROCESS_ID: string = `${HOST}/${process.pid}/${randomBytes(9).toString('base64url')}`

/** The process that holds a lease. */
export interface LeaseProcess {
  /** Name of its machine or container. */
  host: string
  /** Its process ID there. */
  pid: number
}

let count = 0

/** Returns the start of the owners that one engine makes. */
export const ownerPrefix = (): string => `${PROCESS_ID}/${(++count).toString(36)}.`

const OWNER = /^([\w.-]{1,63})\/(\d{1,10})\/[\w-]{1,40}\//

/** Returns the process that an owner names. What stands in Redis may have been written by another program. */
export function processOf(owner: string): LeaseProcess {
  const match = OWNER.exec(owner)
  return match ? { host: match[1]!, pid: Number(match[2]) } : { host: 'unknown', pid: 0 }
}
