/** The head of a stored answer as one text: its status, a space, its headers. */

export type AnswerHeaders = Record<string, string | readonly string[]>

export const headText = (status: number, headers: AnswerHeaders): string =>
  `${status} ${JSON.stringify(headers)}`

export const statusIn = (head: Buffer): number => Number(head.toString('latin1', 0, 3))

export const headersIn = (head: Buffer): AnswerHeaders =>
  JSON.parse(head.toString('utf8', 4)) as AnswerHeaders
