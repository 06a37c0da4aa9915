/** Request targets, hosts and schemes: features must not key by what handlers do not see. */
import { once } from 'node:events'
import { connect as connectHttp2 } from 'node:http2'
import { connect } from 'node:net'
import { describe, expect, it, onTestFinished } from 'vitest'
import { feature, frameworks } from './harness.ts'

const tell = feature((x) => {
  const { target, host, secure } = x
  return { reply: { status: 200, body: JSON.stringify({ target, host, secure }) } }
})

/** Sends bytes as they are, and returns what a feature saw; undefined if node refused the request. */
async function seen(url: URL, start: string, fields = ['Host: a.example']): Promise<any> {
  const socket = connect(Number(url.port), '127.0.0.1').on('error', () => {})
  onTestFinished(() => void socket.destroy())
  let text = ''
  socket.setEncoding('latin1').on('data', (chunk: string) => (text += chunk))
  socket.write(`${start}\r\n${fields.join('\r\n')}\r\nConnection: close\r\n\r\n`, 'latin1')
  await once(socket, 'close')
  const body = /\{.*\}/.exec(text)?.[0]
  return body === undefined ? undefined : JSON.parse(body)
}

describe.each(frameworks)('on $name', ({ start, kind }) => {
  it.each(['/', '/news', '/news?page=2', '/a%2Fb', '//a/b', '/a;b=c', '/a"b|c'])(
    'the target %j is regular',
    async (target) => {
      const { url } = await start({ stack: [tell] })
      expect(await seen(url, `GET ${target} HTTP/1.1`)).toEqual({
        target,
        host: 'a.example',
        secure: false,
      })
    },
  )

  it.each([
    ['a fragment', '/news#/../x'],
    ['a fragment alone', '/#'],
    ['the absolute form', 'http://a.example/news'],
    ['the absolute form of another host', 'http://b.example/news'],
    ['a backslash', '/news\\..\\x'],
    ['a control character', '/news\x01'],
    ['a no-break space', '/news\xa0'],
    ['the asterisk form', '*'],
  ])('attack: %s in the target: features must let the request pass', async (_, target) => {
    const { url } = await start({ stack: [tell] })
    const what = await seen(url, `${target === '*' ? 'OPTIONS' : 'GET'} ${target} HTTP/1.1`)
    expect(what?.target).toBeUndefined()
  })

  it.each([
    ['no host', [], 'HTTP/1.0'],
    ['two hosts', ['Host: a.example', 'Host: b.example'], 'HTTP/1.1'],
    ['a host that is none', ['Host: a.example/x'], 'HTTP/1.1'],
    ['a host with a user', ['Host: user@a.example'], 'HTTP/1.1'],
    ['an empty host', ['Host:'], 'HTTP/1.1'],
  ])('attack: %s: features must let the request pass', async (_, fields, version) => {
    const { url } = await start({ stack: [tell] })
    const what = await seen(url, `GET /news ${version}`, fields)
    expect([what?.target, what?.host]).toEqual([undefined, undefined])
  })

  const trust = kind === 'koa' ? { proxy: true, maxIpsCount: 1 } : 1
  const forwarded: [string, string[], object][] = [
    ['https', ['X-Forwarded-Proto: https'], { target: '/', host: 'a.example', secure: true }],
    ['http', ['X-Forwarded-Proto: http'], { target: '/', host: 'a.example', secure: false }],
    [
      'two proxies',
      ['X-Forwarded-Proto: https, http'],
      { target: '/', host: 'a.example', secure: true },
    ],
    [
      'another host',
      ['X-Forwarded-Host: B.example, c.example'],
      { target: '/', host: 'b.example', secure: false },
    ],
    ['an empty host', ['X-Forwarded-Host:'], { target: '/', host: 'a.example', secure: false }],
    ['an empty first host', ['X-Forwarded-Host: , b.example'], { secure: false }],
    ['a scheme that is none', ['X-Forwarded-Proto: ftp'], { host: 'a.example', secure: false }],
    ['a scheme in capitals', ['X-Forwarded-Proto: HTTPS'], { host: 'a.example', secure: false }],
    ['an empty first scheme', ['X-Forwarded-Proto: , https'], { host: 'a.example', secure: false }],
  ]
  it.each(forwarded)('believes a trusted proxy: %s', async (_, fields, expected) => {
    if (kind === 'node') return
    const { url } = await start({ stack: [tell], trustProxy: trust })
    expect(await seen(url, 'GET / HTTP/1.1', ['Host: a.example', ...fields])).toEqual(expected)
  })

  it.each(forwarded)('believes no other client: %s', async (_, fields) => {
    const { url } = await start({ stack: [tell] })
    expect(await seen(url, 'GET / HTTP/1.1', ['Host: a.example', ...fields])).toEqual({
      target: '/',
      host: 'a.example',
      secure: false,
    })
  })

  if (kind === 'express') return
  it.each([
    ['a.example', undefined, 'a.example'],
    ['a.example', 'a.example', 'a.example'],
    ['a.example', 'b.example', undefined],
  ])('over HTTP/2, :authority %s beside host %s is %s', async (authority, host, expected) => {
    const { url } = await start({ stack: [tell], isHttp2: true })
    const client = connectHttp2(`http://127.0.0.1:${url.port}`).on('error', () => {})
    onTestFinished(() => client.destroy())
    const stream = client.request({
      ':path': '/',
      ':authority': authority,
      ...(host !== undefined && { host }),
    })
    let text = ''
    stream.setEncoding('utf8').on('data', (chunk: string) => (text += chunk))
    await once(stream, 'end')
    const what = JSON.parse(text)
    expect([what.host, what.target]).toEqual([expected, expected && '/'])
  })
})
