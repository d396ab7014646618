import { hasCode, MlvError } from '../base/errors.ts'
import { gitVersion } from '../git/version.ts'
import { cacheFolder, chosenLinks, workingLinks } from './link.ts'
import type { Project } from './project.ts'

export interface Finding {
  subject: string
  /** a warning is worth knowing, an error stops something from working */
  state: 'ok' | 'warning' | 'error'
  words: string
  hint?: string
}

/** Turns an expected failure into a finding; a bug stays a bug. */
async function check(subject: string, work: () => Promise<string> | string): Promise<Finding> {
  try {
    return { subject, state: 'ok', words: await work() }
  } catch (error) {
    if (!(error instanceof MlvError)) throw error
    return { subject, state: 'error', words: error.message, hint: error.hint }
  }
}

function checkNode(version: string): Finding {
  const [major = 0, minor = 0] = version.split('.').map(Number)
  if (major > 20 || (major === 20 && minor >= 12)) return { subject: 'node', state: 'ok', words: version }
  return { subject: 'node', state: 'error', words: `${version} is too old`, hint: 'Install Node 20.12 or newer.' }
}

async function checkGit(env: Record<string, string | undefined>): Promise<Finding> {
  const version = await gitVersion(env)
  if (version) return { subject: 'git', state: 'ok', words: version }
  return { subject: 'git', state: 'warning', words: 'none on PATH; reading history is slower', hint: 'Install git.' }
}

async function checkRemote(project: Project, name: string): Promise<Finding> {
  const url = project.config.remote(name)!.url
  return check(`remote ${name}`, async () => {
    await project.remote(name, 'read')
    return `${url} answers`
  })
}

/** Looks at all that mlv stands on: Node, git, the project, links, the cache, every remote. Changes nothing but the cached link probe.
 *  @returns findings in that order; what depends on a missing project is left out */
export async function examine(
  node: string,
  env: Record<string, string | undefined>,
  open: () => Promise<Project>,
): Promise<Finding[]> {
  const findings = [checkNode(node), await checkGit(env)]
  let project: Project
  try {
    project = await open()
  } catch (error) {
    if (!(error instanceof MlvError)) throw error
    // Right after the installation there is none yet, and nothing is at fault.
    const state = hasCode(error, 'PROJECT_MISSING', 'GIT_MISSING') ? 'warning' : 'error'
    return [...findings, { subject: 'project', state, words: error.message, hint: error.hint }]
  }
  findings.push({ subject: 'project', state: 'ok', words: project.root })
  findings.push(await check('links', () => `${workingLinks(project).join(', ')}; used: ${chosenLinks(project).join(', then ')}`))
  findings.push(
    await check('cache', async () => {
      await project.cache('read')
      return cacheFolder(project)
    }),
  )
  const names = project.config.remotes()
  if (names.length === 0)
    findings.push({
      subject: 'remote',
      state: 'warning',
      words: 'none yet: the data is on this machine alone',
      hint: 'Run "mlv remote add origin URL".',
    })
  findings.push(...(await Promise.all(names.map((name) => checkRemote(project, name)))))
  const chosen = project.config.get('core.remote')
  if (chosen !== undefined && !names.includes(chosen))
    findings.push({
      subject: 'core.remote',
      state: 'error',
      words: `there is no remote "${chosen}"`,
      hint: 'Run "mlv remote default NAME".',
    })
  return findings
}
