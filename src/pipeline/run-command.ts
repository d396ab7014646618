import { lstatSync } from 'node:fs'
import { join } from 'node:path'
import { MlvError } from '../base/errors.ts'
import { groupRuns } from '../base/process-group.ts'
import type { Project } from '../workspace/project.ts'
import type { Aside } from './aside.ts'
import type { CommandEnd, CommandRun, Shell } from './executor/shell.ts'
import { placeText } from './stage.ts'
import type { StageCommands } from './task.ts'

const LONGEST_COMMAND = 80

/** How a command ended that did not succeed, in words. */
export function describeEnd(end: Exclude<CommandEnd, { kind: 'done' }>, stage: Pick<StageCommands, 'timeout'>): string {
  switch (end.kind) {
    case 'failed':
      return `exit status ${end.status}`
    case 'killed':
      return `ended by ${end.signal}`
    case 'not started':
      return end.why
    case 'timed out':
      return `stopped after its timeout of ${stage.timeout} s`
    case 'interrupted':
      return 'interrupted'
  }
}

/** What may help when a command did not succeed; '' or a sentence with a space behind it. */
export function endHint(end: CommandEnd): string {
  if (end.kind === 'not started') return `${end.hint} `
  if (end.kind === 'failed' && end.status === 127)
    return 'The shell did not find the command: install it, or check PATH and the spelling. '
  if (end.kind === 'failed' && end.status === 126) return 'The shell may not execute it: check its mode with "ls -l". '
  if (end.kind === 'killed' && end.signal === 'SIGKILL') return 'The system kills processes when memory runs out. '
  return ''
}

/** The error of a command that did not succeed; its cause is `end`. */
export function commandError(stage: StageCommands, line: string, end: Exclude<CommandEnd, { kind: 'done' }>): MlvError {
  const short = line.split('\n')[0]!
  const command = short.length > LONGEST_COMMAND ? `${short.slice(0, LONGEST_COMMAND - 1)}…` : short
  if (end.kind === 'interrupted')
    return new MlvError('INTERRUPTED', `Interrupted stage "${stage.name}"`, { hint: 'Run the same command again.' })
  return new MlvError(
    'STAGE_FAILED',
    `Stage "${stage.name}" failed: ${describeEnd(end, stage)} (${placeText(stage.cmdAt)}: ${command})`,
    {
      hint: endHint(end),
      cause: end,
    },
  )
}

export interface CommandPorts {
  shell: Shell
  aside: Pick<Aside, 'note' | 'clear'>
  /** what the commands print */
  onOutput: CommandRun['onOutput']
  /** besides the user's environment */
  env?: CommandRun['env']
}

/** The folder a stage's commands run in, absolute. @throws PATH_MISSING */
export function workFolder(stage: Pick<StageCommands, 'name' | 'wdir' | 'at'>, project: Pick<Project, 'root'>): string {
  const cwd = join(project.root, stage.wdir)
  if (!lstatSync(cwd, { throwIfNoEntry: false })?.isDirectory())
    throw new MlvError(
      'PATH_MISSING',
      `Stage "${stage.name}" runs in ${stage.wdir}, which is no folder (${placeText(stage.at)})`,
      {
        hint: `Create it with "mkdir -p ${stage.wdir}", or correct wdir.`,
      },
    )
  return cwd
}

/** Runs the commands of a stage one after another, all of them again up to `retry` times.
 *  @returns whether they left processes running   @throws STAGE_FAILED, INTERRUPTED, PATH_MISSING */
export async function runCommands(stage: StageCommands, project: Project, ports: CommandPorts): Promise<boolean> {
  const cwd = workFolder(stage, project)
  const { shell, aside, onOutput } = ports
  const { signal, warn } = project.surroundings
  const env = { ...project.surroundings.env, ...ports.env }
  let left = false
  /** of commands that have ended: what they left running counts, too */
  const groups: number[] = []
  const onStart = (group: number) => {
    aside.note(...groups.filter(groupRuns), group)
    groups.push(group)
  }
  for (let attempt = 0; ; attempt++) {
    let failure: MlvError | undefined
    let again = attempt < stage.retry
    for (const command of stage.cmd) {
      const end = await shell.run({
        command,
        shell: stage.shell,
        cwd,
        env,
        signal,
        timeout: stage.timeout,
        onStart,
        onOutput,
      })
      if (end.kind === 'done') {
        left ||= end.left !== undefined
        if (end.left !== undefined)
          warn(`stage "${stage.name}" left processes running; end them with "kill -- -${end.left}" if they are not wanted`)
        continue
      }
      failure = commandError(stage, command, end)
      again &&= end.kind !== 'interrupted' && end.kind !== 'not started'
      break
    }
    if (!failure) return left
    if (!again) throw failure
    warn(`${failure.message}; trying again (${attempt + 1} of ${stage.retry})`)
    aside.clear()
  }
}
