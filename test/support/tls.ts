import { generateKeyPairSync, randomBytes, sign } from 'node:crypto'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { startRedis, type RedisServer } from '../../src/testing.ts'
import { freePort } from './cluster.ts'

/** A certificate for 127.0.0.1, signed by itself, and its key: both PEM. */
export interface Certificate {
  cert: string
  key: string
}

/** A Redis that speaks TLS. */
export interface TlsRedis extends AsyncDisposable {
  /** `rediss://127.0.0.1:<port>` */
  readonly url: string
  /** What has to be trusted. */
  readonly ca: string
  /** The same, in a file. */
  readonly caFile: string
  /** The same server's plain port. */
  readonly plain: RedisServer
}

/** Starts a Redis with a certificate of its own, made for it. */
export async function startTlsRedis(): Promise<TlsRedis> {
  const folder = await mkdtemp(join(tmpdir(), 'turnpike-tls-'))
  const { cert, key } = makeCertificate()
  const [certFile, keyFile] = [join(folder, 'cert.pem'), join(folder, 'key.pem')]
  await Promise.all([writeFile(certFile, cert), writeFile(keyFile, key)])
  const port = await freePort()
  const options = {
    'tls-port': String(port),
    'tls-cert-file': certFile,
    'tls-key-file': keyFile,
    'tls-ca-cert-file': certFile,
    'tls-auth-clients': 'no',
  }
  const args = Object.entries(options).flatMap(([name, value]) => [`--${name}`, value])
  const plain = await startRedis({ args })
  return {
    url: `rediss://127.0.0.1:${port}`,
    ca: cert,
    caFile: certFile,
    plain,
    async [Symbol.asyncDispose]() {
      await plain.stop()
      await rm(folder, { recursive: true, force: true })
    },
  }
}

/** One value in DER. */
function der(tag: number, ...parts: (Buffer | number[])[]): Buffer {
  const body = Buffer.concat(parts.map((part) => Buffer.from(part)))
  const { length } = body
  const head =
    length < 128 ? [length] : length < 256 ? [0x81, length] : [0x82, length >> 8, length & 255]
  return Buffer.concat([Buffer.from([tag, ...head]), body])
}

const [BOOLEAN, INTEGER, BITS, OCTETS, OID, UTF8, TIME, SEQUENCE, SET] = [
  0x01, 0x02, 0x03, 0x04, 0x06, 0x0c, 0x17, 0x30, 0x31,
] as const

/** Makes a certificate (X.509 v3, RFC 5280) without a program for it. */
export function makeCertificate(): Certificate {
  const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const ecdsaWithSha256 = der(SEQUENCE, der(OID, [0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 2]))
  const commonName = der(SEQUENCE, der(OID, [0x55, 4, 3]), der(UTF8, Buffer.from('turnpike test')))
  const name = der(SEQUENCE, der(SET, commonName))
  const extension = (id: number, value: Buffer): Buffer =>
    der(SEQUENCE, der(OID, [0x55, 0x1d, id]), der(OCTETS, value))
  const isAuthority = extension(19, der(SEQUENCE, der(BOOLEAN, [0xff])))
  const address = extension(17, der(SEQUENCE, der(0x87, [127, 0, 0, 1])))
  const unsigned = der(
    SEQUENCE,
    der(0xa0, der(INTEGER, [2])),
    der(INTEGER, [1, ...randomBytes(8)]),
    ecdsaWithSha256,
    name,
    der(SEQUENCE, ...['200101000000Z', '491231235959Z'].map((at) => der(TIME, Buffer.from(at)))),
    name,
    publicKey.export({ type: 'spki', format: 'der' }),
    der(0xa3, der(SEQUENCE, isAuthority, address)),
  )
  const signature = sign('sha256', unsigned, privateKey)
  const whole = der(SEQUENCE, unsigned, ecdsaWithSha256, der(BITS, [0], signature))
  const lines = whole.toString('base64').match(/.{1,64}/g)!
  return {
    cert: `-----BEGIN CERTIFICATE-----\n${lines.join('\n')}\n-----END CERTIFICATE-----\n`,
    key: String(privateKey.export({ type: 'pkcs8', format: 'pem' })),
  }
}
