/** A lock, as the in-process engine keeps it. */
export interface Locked {
  owner: string
  token: number
  /** Ms since the epoch. */
  until: number
}
