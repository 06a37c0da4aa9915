/** The site of the documentation in headless Chromium, as `npm run docs:build` writes it. */
import { spawnSync } from 'node:child_process'
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import path from 'node:path'
import { chromium, type Browser, type Page } from 'playwright-core'
import { afterAll, beforeAll, expect, it, onTestFinished } from 'vitest'
import { fileOf } from '../../.vitepress/dead-links.ts'
import { findChromium } from '../../scripts/ensure-chromium.mjs'
import { ROOT } from '../docs/blocks.ts'

const SITE = path.join(ROOT, '.cache/site')
const TYPES: Readonly<Record<string, string>> = {
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript',
  '.css': 'text/css',
  '.svg': 'image/svg+xml',
}
/** With SCREENSHOTS=1 pictures of the pages are written to .cache/. */
const WITH_PICTURES = process.env['SCREENSHOTS'] === '1'

/** Returns true if the site was built after the last change of a page or of its configuration. */
function isCurrent(): boolean {
  const built = path.join(SITE, 'index.html')
  if (!existsSync(built)) return false
  const files = ['docs', '.vitepress'].flatMap((folder) =>
    readdirSync(path.join(ROOT, folder), { recursive: true, encoding: 'utf8' }).map((file) =>
      path.join(ROOT, folder, file),
    ),
  )
  const at = statSync(built).mtimeMs
  return [...files, path.join(ROOT, 'README.md')].every((file) => statSync(file).mtimeMs <= at)
}

let server: Server
let browser: Browser
let origin: string
beforeAll(async () => {
  if (!isCurrent()) {
    const { status, stderr } = spawnSync('npm', ['run', 'docs:build'], { encoding: 'utf8' })
    expect(status, stderr).toBe(0)
  }
  server = createServer((req, res) => {
    const file = fileOf(SITE, new URL(req.url!, 'http://site').pathname.slice(1))
    if (file === undefined) {
      res.writeHead(404).end()
      return
    }
    res.setHeader('content-type', TYPES[path.extname(file)] ?? 'application/octet-stream')
    res.end(readFileSync(path.join(SITE, file)))
  }).listen(0, '127.0.0.1')
  await new Promise((resolve) => void server.once('listening', resolve))
  origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  const executable = spawnSync('which', [findChromium() ?? 'chromium'], { encoding: 'utf8' })
  browser = await chromium.launch({
    executablePath: executable.stdout.trim(),
    args: ['--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage'],
  })
}, 180_000)
afterAll(async () => {
  await browser?.close()
  server?.closeAllConnections()
  server?.close()
})

/** Opens a page. What the browser complains about is collected. */
async function open(link: string): Promise<{ page: Page; complaints: string[] }> {
  const page = await browser.newPage({ viewport: { width: 1280, height: 900 } })
  onTestFinished(() => page.close())
  const complaints: string[] = []
  page.on('pageerror', (error) => complaints.push(String(error)))
  page.on('console', (message) => {
    if (message.type() === 'error' || message.type() === 'warning') complaints.push(message.text())
  })
  await page.goto(`${origin}${link}`, { waitUntil: 'networkidle' })
  return { page, complaints }
}

async function takePicture(page: Page, name: string): Promise<void> {
  if (WITH_PICTURES) await page.screenshot({ path: path.join(ROOT, `.cache/site-${name}.png`) })
}

it('the start page shows the quick start and the picture, and leads to a feature', async () => {
  const { page, complaints } = await open('/')
  await page.getByRole('heading', { name: 'Quick start' }).waitFor()
  const picture = page.locator('.vp-doc img').first()
  await picture.scrollIntoViewIfNeeded()
  expect(await picture.evaluate((image: any) => image.naturalWidth)).toBeGreaterThan(0)
  await takePicture(page, 'start')
  await page.getByRole('link', { name: 'Rate limits' }).first().click()
  await page.getByRole('heading', { level: 1, name: 'Rate limits' }).waitFor()
  expect(complaints).toEqual([])
})

it('a page of the reference shows an option with its type and default', async () => {
  const { page, complaints } = await open('/reference/locks#lockoptionslease')
  const heading = page.locator('#lockoptionslease')
  await heading.waitFor()
  const facts = heading.locator('xpath=following-sibling::p[1]')
  expect(await facts.textContent()).toBe("Type: Duration · Default: '30s' · Since: 0.1.0")
  await takePicture(page, 'reference')
  await facts.getByRole('link', { name: 'Duration' }).click()
  await page.getByRole('heading', { level: 1, name: 'The instance' }).waitFor()
  expect(new URL(page.url()).hash).toBe('#duration')
  expect(complaints).toEqual([])
})

it('a link to a test leads to its lines', async () => {
  const { page, complaints } = await open('/guarantees')
  await page.getByRole('link', { name: 'transparency', exact: true }).first().click()
  await page.waitForURL('**/source/test/frameworks/transparency.test.ts.html')
  expect(await page.locator('#L1').textContent()).toMatch(/^1/)
  expect(complaints).toEqual([])
})

it('the search finds rateLimit, without a server', async () => {
  const { page, complaints } = await open('/reference/')
  await page
    .getByRole('button', { name: /Search/ })
    .first()
    .click()
  await page.getByRole('searchbox').fill('rateLimit')
  const found = page.locator('#localsearch-list a', { hasText: 'tp.rateLimit()' }).first()
  await found.waitFor()
  await takePicture(page, 'search')
  await found.click()
  await page.waitForURL('**/reference/instance#tpratelimit')
  await page.locator('#tpratelimit').waitFor()
  expect(complaints).toEqual([])
})
