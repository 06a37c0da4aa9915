/** Reads the JSON that a store holds. */

/**
 * Returns the value of stored JSON.
 * @throws a SyntaxError without the text. The error of JSON.parse quotes it: session data, payloads
 */
export function parseStoredJson(
  json: string,
  revive?: (this: any, key: string, value: unknown) => unknown,
): unknown {
  try {
    return JSON.parse(json, revive) as unknown
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error
    throw new SyntaxError(
      'A stored value is no JSON: it was cut off, or another program has written it.',
    )
  }
}
