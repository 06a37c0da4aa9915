/** The order in which Redis sorts members of equal scores. */

/** Compares two strings by their bytes in UTF-8. */
export const compareBytes = (a: string, b: string): number =>
  Buffer.compare(Buffer.from(a), Buffer.from(b))
