import type { Command } from 'commander'
import { MlvError } from '../../base/errors.ts'
import type { RemoteChange, RemoteSettings } from '../../workspace/edit-remotes.ts'
import type { ConfigPlace } from '../../workspace/open-config.ts'
import type { Surroundings } from '../../workspace/project.ts'
import { type Configure, example } from '../command.ts'
import { editSettings, findConfigPlace, type TargetOptions, targetOf } from '../config-place.ts'
import type { Output } from '../output.ts'
import { renderTable } from '../render/table.ts'

interface SettingOptions extends TargetOptions {
  endpoint?: string
  region?: string
  profile?: string
  pathStyle?: boolean
  sse?: string
  sseKmsKey?: string
  checksum?: RemoteSettings['checksum']
}

function addTargets(command: Command): Command {
  return command.option('--local', 'in this clone alone (.git/mlv/config)').option('--user', 'for all your projects')
}

function addSettings(command: Command): Command {
  return addTargets(command)
    .option('--endpoint <url>', 'where an S3-compatible server listens')
    .option('--region <name>', 'region of the bucket')
    .option('--profile <name>', 'profile of your AWS configuration')
    .option('--path-style', 'http://server/bucket instead of http://bucket.server')
    .option('--no-path-style', 'http://bucket.server')
    .option('--sse <mode>', 'encryption at rest: AES256 or aws:kms')
    .option('--sse-kms-key <id>', 'key for aws:kms')
    .option('--checksum <kind>', 'how uploads are checked: sha256 (default), md5 or none')
}

function settingsOf(options: SettingOptions): RemoteSettings {
  return {
    endpoint: options.endpoint,
    region: options.region,
    profile: options.profile,
    path_style: options.pathStyle,
    sse: options.sse,
    sse_kms_key: options.sseKmsKey,
    checksum: options.checksum,
  }
}

/** Remotes belong to a project. @throws PROJECT_MISSING, GIT_MISSING */
async function requirePlace(surroundings: Surroundings): Promise<ConfigPlace> {
  const place = await findConfigPlace(surroundings)
  if (place.root !== undefined) return place
  const { requireGit } = await import('../../workspace/open-project.ts')
  const { workTree } = requireGit(surroundings.cwd)
  throw new MlvError('PROJECT_MISSING', `There is no mlv project in ${surroundings.cwd} or above it`, {
    hint: `Run "mlv init" at the top of the repository, ${workTree}.`,
  })
}

function answerChange(output: Output, change: RemoteChange, words: string): void {
  const committed = change.file === '.mlv/config'
  output.answer(change, () =>
    output.quiet
      ? ''
      : [
          `${change.name}${change.url === undefined ? '' : ` → ${change.url}`} ${words} ${change.file}${change.default ? ', the default remote' : ''}`,
          committed
            ? 'to share it: git add .mlv/config'
            : `it counts ${change.file === '.git/mlv/config' ? 'in this clone' : 'on this machine'} only; the committed settings stay as they are`,
          ...(change.overruled ? [overruledWords(change.overruled)] : []),
        ].join('\n'),
  )
}

function overruledWords({ remote, by }: { remote: string; by: string }): string {
  return `here ${remote} stays the default remote, by ${by}`
}

export const configure: Configure = (command, act) => {
  example(command, 'mlv remote add origin s3://bucket/project --region eu-central-1')

  const add = addSettings(command.command('add').description('name a place where data is pushed to and pulled from'))
  add.argument('<name>').argument('<url>', 'a folder, s3://BUCKET/PREFIX, or https://… (read only)')
  add.option('--default', 'make it the default remote').option('--force', 'replace a remote of that name')
  example(add, 'mlv remote add origin s3://bucket/project --region eu-central-1', 'mlv remote add disk /mnt/share/project')
  add.action(
    act(
      async (
        { output, surroundings },
        name: string,
        url: string,
        options: SettingOptions & { default?: boolean; force?: boolean },
      ) => {
        const { addRemote } = await import('../../workspace/edit-remotes.ts')
        const place = await requirePlace(surroundings)
        const request = { name, url, settings: settingsOf(options), cwd: surroundings.cwd, target: targetOf(options) }
        const change = await editSettings(surroundings, place, () =>
          addRemote(place, { ...request, makeDefault: options.default ?? false, force: options.force ?? false }),
        )
        answerChange(output, change, 'is now in')
      },
    ),
  )

  const list = command.command('list').description('list the remotes')
  example(list, 'mlv remote list')
  list.action(
    act(async ({ output, surroundings }) => {
      const { openConfig } = await import('../../workspace/open-config.ts')
      const config = await openConfig(await requirePlace(surroundings))
      const values = new Map(config.list().map((item) => [item.key, item]))
      const names = config.remotes()
      const chosen = config.get('core.remote') ?? (names.length === 1 ? names[0] : undefined)
      const remotes = names.map((name) => {
        const url = values.get(`remotes.${name}.url`)!
        return { name, url: String(url.value), default: name === chosen, origin: url.origin }
      })
      output.answer(remotes, () =>
        renderTable(
          remotes.map((remote) => [
            remote.name,
            remote.url,
            remote.default ? 'default' : '',
            remote.origin === 'project' ? '' : remote.origin,
          ]),
        ),
      )
    }),
  )

  const modify = addSettings(command.command('modify').description("change a remote's settings"))
  modify.argument('<name>').option('--url <url>', 'another place')
  example(modify, 'mlv remote modify origin --profile team --local')
  modify.action(
    act(async ({ output, surroundings }, name: string, options: SettingOptions & { url?: string }) => {
      const { modifyRemote } = await import('../../workspace/edit-remotes.ts')
      const place = await requirePlace(surroundings)
      const request = { name, url: options.url, settings: settingsOf(options), cwd: surroundings.cwd, target: targetOf(options) }
      const change = await editSettings(surroundings, place, () => modifyRemote(place, request))
      answerChange(output, change, 'is changed in')
    }),
  )

  const remove = addTargets(command.command('remove').description('forget a remote; what it stores stays there')).argument(
    '<name>',
  )
  example(remove, 'mlv remote remove origin')
  remove.action(
    act(async ({ output, surroundings }, name: string, options: TargetOptions) => {
      const { removeRemote } = await import('../../workspace/edit-remotes.ts')
      const place = await requirePlace(surroundings)
      const files = await editSettings(surroundings, place, () => removeRemote(place, name, targetOf(options)))
      output.answer({ name, files }, () =>
        output.quiet ? '' : files.length > 0 ? `${name} is gone from ${files.join(' and ')}` : `${name} was not in that file`,
      )
      return files.length > 0 ? 0 : 1
    }),
  )

  const choose = addTargets(command.command('default').description('print the default remote, or choose it')).argument('[name]')
  example(choose, 'mlv remote default origin')
  choose.action(
    act(async ({ output, surroundings }, name: string | undefined, options: TargetOptions) => {
      const place = await requirePlace(surroundings)
      if (name !== undefined) {
        const { setDefaultRemote } = await import('../../workspace/edit-remotes.ts')
        const change = await editSettings(surroundings, place, () => setDefaultRemote(place, name, targetOf(options)))
        output.answer(change, () => {
          if (output.quiet) return ''
          return change.overruled
            ? `${name} is the default remote of ${change.file} now; ${overruledWords(change.overruled)}`
            : `${name} is the default remote now, by ${change.file}`
        })
        return 0
      }
      const { openConfig } = await import('../../workspace/open-config.ts')
      const config = await openConfig(place)
      const names = config.remotes()
      const chosen = config.get('core.remote') ?? (names.length === 1 ? names[0] : undefined)
      output.answer({ default: chosen ?? null }, () => chosen ?? '')
      return chosen === undefined ? 1 : 0
    }),
  )
}
