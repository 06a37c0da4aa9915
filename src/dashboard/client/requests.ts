/** Requests to the server of the dashboard. All addresses are relative to the page. */

/** Who looks at the page. */
export interface Viewer {
  readonly can: 'view' | 'operate'
  readonly who: string
  readonly hasTenants: boolean
  readonly jobs: string | null
}

/** What a page shows, or why it cannot. */
export interface Answer {
  readonly page: string
  readonly data?: any
  readonly warnings?: readonly string[]
  readonly error?: { readonly code: string; readonly message: string }
}

/** A change that a person wants. */
export interface Wish {
  readonly command: string
  readonly args: readonly string[]
  readonly options: Readonly<Record<string, string | boolean>>
  readonly tenant?: string
}

/** What a change would do, or what came of it. */
export interface ChangeAnswer {
  readonly plan?: readonly string[]
  readonly typed?: string | null
  readonly state?: string
  readonly cli?: string
  readonly nothing?: string
  readonly changed?: boolean
  readonly line?: string
  readonly error?: { readonly code: string; readonly message: string }
}

const failed = (page: string, message: string): Answer => ({
  page,
  error: { code: 'unreachable', message },
})

async function jsonOf(response: Response): Promise<any> {
  if (response.status === 404) throw new Error('You are no longer allowed to see this.')
  if (!response.headers.get('content-type')?.startsWith('application/json'))
    throw new Error(`The application replied ${response.status}.`)
  return await response.json()
}

export async function fetchViewer(): Promise<Viewer> {
  return await jsonOf(await fetch('data/me'))
}

export async function fetchPage(page: string, query: Record<string, string>): Promise<Answer> {
  try {
    return await jsonOf(await fetch(`data/${page}?${String(new URLSearchParams(query))}`))
  } catch (error) {
    return failed(page, (error as Error).message)
  }
}

export async function sendChange(kind: 'preview' | 'run', body: object): Promise<ChangeAnswer> {
  try {
    const response = await fetch(`actions/${kind}`, {
      method: 'POST',
      headers: { 'Content-Type': 'application/json' },
      body: JSON.stringify(body),
    })
    return await jsonOf(response)
  } catch (error) {
    return { error: { code: 'unreachable', message: (error as Error).message } }
  }
}
