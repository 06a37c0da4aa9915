const CRLF = '\r\n'

/** Reads the commands of one connection (RESP arrays of bulk strings), however they are cut up. */
export class RespCounter {
  #rest: Buffer = Buffer.alloc(0)

  /** The names of the commands that this piece completes. */
  read(piece: Buffer): string[] {
    this.#rest = Buffer.concat([this.#rest, piece])
    const names: string[] = []
    for (;;) {
      const command = commandIn(this.#rest)
      if (!command) return names
      names.push(command.name)
      this.#rest = this.#rest.subarray(command.length)
    }
  }
}

/** The first whole command in `bytes`, or undefined. */
function commandIn(bytes: Buffer): { name: string; length: number } | undefined {
  let at = 0
  const number = (): number | undefined => {
    const end = bytes.indexOf(CRLF, at)
    if (end < 0) return undefined
    const value = Number(bytes.toString('latin1', at + 1, end))
    at = end + 2
    return value
  }
  const count = number()
  if (count === undefined) return undefined
  let name = ''
  for (let i = 0; i < count; i++) {
    const length = number()
    if (length === undefined || at + length + 2 > bytes.length) return undefined
    if (i === 0) name = bytes.toString('latin1', at, at + length).toUpperCase()
    at += length + 2
  }
  return { name, length: at }
}
