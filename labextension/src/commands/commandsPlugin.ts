/** The commands of the palette, the menus and the shortcuts. Where they stand, and their keys, is said in schema/plugin.json. */

import type { JupyterFrontEnd, JupyterFrontEndPlugin } from '@jupyterlab/application';
import { ICommandPalette, InputDialog } from '@jupyterlab/apputils';
import {
  addBelowIcon,
  closeIcon,
  copyIcon,
  deleteIcon,
  downloadIcon,
  extensionIcon,
  type LabIcon,
  linkIcon,
  pauseIcon,
  refreshIcon,
  runIcon,
  settingsIcon,
  stopIcon,
  undoIcon
} from '@jupyterlab/ui-components';
import type { CommandRegistry } from '@lumino/commands';

import { cut } from '../format';
import type { Command, InstanceView } from '../kernel/model';
import { firstLine, type MagicKind } from '../magicLine';
import { IGleitzeit } from '../tokens';
import { type Action, isGone, restartPool } from './actions';
import { isWanted } from './asking';
import { cancellable, type Chooser, loadable, resettable, stoppable, unloadable } from './choices';
import {
  ATTACH,
  CANCEL,
  COPY_DIAGNOSTICS,
  DRAIN,
  INSERT_LLM,
  INSERT_SANDBOX,
  LOAD,
  NO_ARGUMENTS,
  OPEN_SETTINGS,
  RELOAD,
  RESET_SESSION,
  RESTART_POOL,
  RESUME,
  STOP_CONTAINER,
  UNLOAD,
  WARM
} from './commands';
import { copyDiagnostics } from './diagnostics';
import { canInsert, insertMagic } from './inserting';
import { announced, notify } from './notices';

const SETTING_EDITOR = 'settingeditor:open';
/** Those that can be given at some times only. */
const MOVING = [ATTACH, CANCEL, DRAIN, INSERT_LLM, INSERT_SANDBOX, LOAD, RELOAD, RESET_SESSION, RESTART_POOL, RESUME, STOP_CONTAINER, UNLOAD, WARM];

class Commands {
  private enabledFor = '';

  constructor(
    private readonly app: JupyterFrontEnd,
    private readonly gleitzeit: IGleitzeit,
    private readonly palette: ICommandPalette | null
  ) {
    this.addCells();
    this.addKernel();
    this.addInstances();
    this.addModels();
    this.addRunning();
    this.addPool();
    this.addHelp();
    gleitzeit.link.changed.connect(this.notify, this);
    gleitzeit.following.changed.connect(this.notify, this);
  }

  private add(id: string, icon: LabIcon, options: Omit<CommandRegistry.ICommandOptions, 'icon' | 'describedBy'>, describedBy: object = NO_ARGUMENTS): void {
    this.app.commands.addCommand(id, { icon, describedBy, ...options });
    this.palette?.addItem({ command: id, category: this.gleitzeit.trans.__('Gleitzeit') });
  }

  private addCells(): void {
    const { following, settings, trans } = this.gleitzeit;
    const insert = (kind: MagicKind) => async (): Promise<void> => {
      if (following.current) {
        await insertMagic(following.current, firstLine(kind, settings.values.defaultModel));
      }
    };
    const isEnabled = (): boolean => canInsert(following.current);
    this.add(INSERT_LLM, addBelowIcon, {
      label: trans.__('Insert %1 Cell Below', '%%llm'),
      caption: trans.__('A cell whose text an Ollama instance of the pool answers'),
      isEnabled,
      execute: insert('llm')
    });
    this.add(INSERT_SANDBOX, addBelowIcon, {
      label: trans.__('Insert %1 Cell Below', '%%sandbox'),
      caption: trans.__('A cell whose Python code runs in a sandbox'),
      isEnabled,
      execute: insert('sandbox')
    });
  }

  private addKernel(): void {
    const { following, link, settings, trans } = this.gleitzeit;
    this.add(LOAD, extensionIcon, {
      label: trans.__('Load gleitzeit_nb in the Kernel'),
      caption: trans.__('Runs “%load_ext gleitzeit_nb” in the active notebook or console'),
      isEnabled: () => following.current !== null && ['unasked', 'silent', 'not-loaded'].includes(link.state.kind),
      execute: () => this.gleitzeit.load()
    });
    this.add(ATTACH, linkIcon, {
      label: trans.__('Ask the Kernel for Its Instances'),
      caption: trans.__('Looks whether gleitzeit_nb is loaded in the active notebook’s or console’s kernel'),
      isVisible: () => !settings.values.autoAttach,
      isEnabled: () => ['unasked', 'silent', 'not-loaded', 'incompatible'].includes(link.state.kind),
      execute: () => link.attach()
    });
  }

  private addInstances(): void {
    const { trans } = this.gleitzeit;
    this.addForInstance(DRAIN, pauseIcon, 'drain', {
      label: trans.__('Drain an Instance…'),
      caption: trans.__('It finishes what it has, and gets nothing new'),
      which: ({ draining }) => !draining,
      question: trans.__('Which instance shall get nothing new?'),
      verb: trans.__('Drain'),
      saying: id => trans.__('Draining %1', id)
    });
    this.addForInstance(RESUME, runIcon, 'resume', {
      label: trans.__('Resume an Instance…'),
      caption: trans.__('It gets requests again'),
      which: ({ draining }) => draining,
      question: trans.__('Which instance shall get requests again?'),
      verb: trans.__('Resume'),
      saying: id => trans.__('Resuming %1', id)
    });
  }

  private addForInstance(id: string, icon: LabIcon, type: 'drain' | 'resume', words: InstanceCommand): void {
    const { link, trans } = this.gleitzeit;
    const candidates = (): string[] => (link.state.kind === 'live' ? link.state.snapshot.instances.filter(words.which).map(each => each.id) : []);
    const choose = async (items: string[]): Promise<string | null> => {
      const { button, value } = await InputDialog.getItem({ title: words.question, label: trans.__('Instance'), items, okLabel: words.verb });
      return button.accept ? value : null;
    };
    const options = {
      label: words.label,
      caption: words.caption,
      isEnabled: () => this.obeys(type) && candidates().length > 0,
      execute: async (args: { readonly instance?: unknown }): Promise<void> => {
        const items = candidates();
        const instance = typeof args.instance === 'string' ? args.instance : await choose(items);
        if (instance !== null) {
          await this.tell({ type, instance }, words.saying(cut(instance)));
        }
      }
    };
    this.add(id, icon, options, {
      args: {
        type: 'object',
        properties: { instance: { type: 'string', description: trans.__('The id of an instance; without it, a dialog asks') } },
        additionalProperties: false
      }
    });
  }

  private addModels(): void {
    const { trans } = this.gleitzeit;
    this.addForChoice(WARM, downloadIcon, 'warm', loadable, {
      label: trans.__('Warm a Model…'),
      caption: trans.__('Loads it into an instance’s memory, so that its first answer need not wait'),
      question: trans.__('Which model shall be loaded?'),
      kind: trans.__('Model'),
      verb: trans.__('Warm')
    });
    this.addForChoice(UNLOAD, deleteIcon, 'unload', unloadable, {
      label: trans.__('Unload a Model…'),
      caption: trans.__('Frees the memory that it takes on an instance'),
      question: trans.__('Which model shall be unloaded?'),
      kind: trans.__('Model'),
      verb: trans.__('Unload')
    });
  }

  private addRunning(): void {
    const { trans } = this.gleitzeit;
    this.addForChoice(CANCEL, stopIcon, 'cancel', cancellable, {
      label: trans.__('Cancel a Request or Run…'),
      caption: trans.__('Ends what a cell or a job is waiting for'),
      question: trans.__('What shall end?'),
      kind: trans.__('Request or run'),
      verb: trans.__('Cancel It')
    });
    this.addForChoice(STOP_CONTAINER, closeIcon, 'stop_container', stoppable, {
      label: trans.__('Stop a Container…'),
      caption: trans.__('Ends a sandbox, with all that is in it'),
      question: trans.__('Which container shall end?'),
      kind: trans.__('Container'),
      verb: trans.__('Stop')
    });
    this.addForChoice(RESET_SESSION, undoIcon, 'reset_session', resettable, {
      label: trans.__('Reset a Sandbox Session…'),
      caption: trans.__('Forgets its variables and files'),
      question: trans.__('Which session shall be forgotten?'),
      kind: trans.__('Session'),
      verb: trans.__('Reset')
    });
  }

  /** A command that asks what it is about, of all that is there when it is called. */
  private addForChoice(id: string, icon: LabIcon, type: Command['type'], chooser: Chooser, words: ChoiceWords): void {
    const { link, trans } = this.gleitzeit;
    const choices = (): ReturnType<Chooser> => (link.state.kind === 'live' ? chooser(link.state.snapshot, trans) : []);
    this.add(id, icon, {
      label: words.label,
      caption: words.caption,
      isEnabled: () => this.obeys(type) && choices().length > 0,
      execute: async () => {
        const offered = choices();
        const items = offered.map(({ label }) => label);
        const { button, value } = await InputDialog.getItem({ title: words.question, label: words.kind, items, okLabel: words.verb });
        const chosen = button.accept ? offered.find(({ label }) => label === value) : undefined;
        if (chosen) {
          await this.act(chosen.action);
        }
      }
    });
  }

  private addPool(): void {
    const { trans } = this.gleitzeit;
    const restart = restartPool(trans);
    this.add(RESTART_POOL, refreshIcon, {
      label: trans.__('Restart the Pool…'),
      caption: restart.caption,
      isEnabled: () => this.obeys('restart_pool'),
      execute: () => this.act(restart)
    });
    this.add(RELOAD, undoIcon, {
      label: trans.__('Reload the Configuration'),
      caption: trans.__('Reads the kernel’s configuration again; instances that were added by hand stay'),
      isEnabled: () => this.obeys('reload'),
      execute: () => this.tell({ type: 'reload' }, trans.__('Reloading the configuration'))
    });
  }

  private addHelp(): void {
    const { trans } = this.gleitzeit;
    this.add(COPY_DIAGNOSTICS, copyIcon, {
      label: trans.__('Copy Diagnostics'),
      caption: trans.__('Copies what a bug report needs, without keys, prompts and answers'),
      execute: () => copyDiagnostics(this.app, this.gleitzeit)
    });
    this.add(OPEN_SETTINGS, settingsIcon, {
      label: trans.__('Gleitzeit Settings'),
      caption: trans.__('Opens the settings editor'),
      isVisible: () => this.app.commands.hasCommand(SETTING_EDITOR),
      execute: () => this.app.commands.execute(SETTING_EDITOR, { query: 'Gleitzeit' })
    });
  }

  /** Asks first where it destroys something. */
  private async act({ command, question, saying }: Action): Promise<void> {
    const { link, settings, trans } = this.gleitzeit;
    if (question && settings.values.confirmDestructive) {
      if (!(await isWanted(question))) {
        return;
      }
      if (link.state.kind === 'live' && isGone(command, link.state.snapshot)) {
        notify('success', question.gone, trans);
        return;
      }
    }
    await this.tell(command, saying);
  }

  private obeys(type: Command['type']): boolean {
    const { link } = this.gleitzeit;
    return link.state.kind === 'live' && (link.welcome?.commands.includes(type) ?? true);
  }

  private async tell(command: Command, saying: string): Promise<void> {
    const { link, trans } = this.gleitzeit;
    await announced(tell => link.request(command, tell), saying, trans);
  }

  /** Says so when commands could or can no more be given: not at every snapshot. */
  private notify(): void {
    const { commands } = this.app;
    const now = MOVING.map(id => `${commands.isEnabled(id)} ${commands.isVisible(id)}`).join();
    if (now !== this.enabledFor) {
      this.enabledFor = now;
      MOVING.forEach(id => commands.notifyCommandChanged(id));
    }
  }
}

interface ChoiceWords {
  readonly label: string;
  readonly caption: string;
  readonly question: string;
  /** What the list holds. */
  readonly kind: string;
  readonly verb: string;
}

interface InstanceCommand {
  readonly label: string;
  readonly caption: string;
  readonly which: (instance: InstanceView) => boolean;
  readonly question: string;
  readonly verb: string;
  /** While the kernel has not answered. */
  readonly saying: (instance: string) => string;
}

export const commandsPlugin: JupyterFrontEndPlugin<void> = {
  id: 'gleitzeit-nb:commands',
  description: 'Commands for the palette, menus and shortcuts.',
  autoStart: true,
  requires: [IGleitzeit],
  optional: [ICommandPalette],
  activate: (app: JupyterFrontEnd, gleitzeit: IGleitzeit, palette: ICommandPalette | null) => {
    new Commands(app, gleitzeit, palette);
  }
};
