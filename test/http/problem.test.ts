import { describe, expect, it } from 'vitest'
import { problemReply } from '../../src/http/problem.ts'

const asking = (accept?: string) => ({ header: () => accept })
const limited = {
  type: 'https://iana.org/assignments/http-problem-types#quota-exceeded',
  title: 'Too many requests',
  status: 429,
  detail: 'Come back in 3 seconds.',
  'violated-policies': ['login'],
}

describe('problem', () => {
  it('is JSON with its extensions', () => {
    const { status, headers, body } = problemReply(limited, asking())
    expect(status).toBe(429)
    expect(headers).toEqual({
      'Content-Type': 'application/problem+json',
      'Cache-Control': 'no-store',
    })
    expect(JSON.parse(body as string)).toEqual(limited)
  })

  it('is text for those who prefer it', () => {
    const { headers, body } = problemReply(limited, asking('text/plain'))
    expect(headers).toMatchObject({ 'Content-Type': 'text/plain; charset=utf-8' })
    expect(body).toBe('Too many requests\nCome back in 3 seconds.')
    const { title, status } = limited
    expect(problemReply({ title, status }, asking('text/*')).body).toBe('Too many requests')
  })
})
