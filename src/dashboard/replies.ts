/** Responses of the dashboard, and the fields that keep other origins out. */
import type { HeaderFields, Plan, Reply } from '../http/exchange.ts'

/**
 * No inline script, no other origin, no frame, no HTML from a string (Trusted Types). The icon of the
 * page is a `data:` URL, because browsers would ask the application for one.
 */
const POLICY = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self'",
  "connect-src 'self'",
  'img-src data:',
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
  "require-trusted-types-for 'script'",
  "trusted-types 'none'",
].join('; ')

const FIELDS: HeaderFields = {
  'Cache-Control': 'no-store, no-transform',
  'Content-Security-Policy': POLICY,
  'Cross-Origin-Opener-Policy': 'same-origin',
  'Cross-Origin-Resource-Policy': 'same-origin',
  'Referrer-Policy': 'no-referrer',
  'X-Content-Type-Options': 'nosniff',
  'X-Frame-Options': 'DENY',
}

/** Fields of applications that let other origins read, or that a page of operators has no use for. */
const REMOVED = [
  'Access-Control-Allow-Origin',
  'Access-Control-Allow-Credentials',
  'Content-Security-Policy-Report-Only',
  'ETag',
]

/** Returns a response with the fields of the dashboard. */
export function replyPlan(status: number, type: string, body: NonNullable<Reply['body']>): Plan {
  const headers = { ...FIELDS, 'Content-Type': type }
  return { reply: { status, headers, remove: REMOVED, body } }
}

/** Returns a response of JSON. */
export const dataPlan = (status: number, json: string): Plan =>
  replyPlan(status, 'application/json; charset=utf-8', json)

/** Returns a response that says why nothing was done. */
export const refusalPlan = (status: number, message: string): Plan =>
  dataPlan(status, JSON.stringify({ error: { code: 'refused', message } }))

/** Returns a redirection. @param location relative, because a proxy may have removed a path */
export function redirectPlan(location: string): Plan {
  const headers = { ...FIELDS, Location: location }
  return { reply: { status: 302, headers, remove: REMOVED, body: '' } }
}
