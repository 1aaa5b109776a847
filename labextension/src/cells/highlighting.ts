/** Gives code cells of Python kernels that begin with a magic of ours their own language, for as long as they do. */

import { Compartment, EditorState, type Extension, type Text } from '@codemirror/state';
import { type EditorView, ViewPlugin, type ViewUpdate } from '@codemirror/view';
import type { JupyterFrontEnd, JupyterFrontEndPlugin } from '@jupyterlab/application';
import type { CodeEditor } from '@jupyterlab/codeeditor';
import { IEditorExtensionRegistry, IEditorLanguageRegistry } from '@jupyterlab/codemirror';
import { ITranslator, nullTranslator } from '@jupyterlab/translation';

import { CellLanguages, PROSE } from './cellLanguage';
import { fieldMarks } from './fieldMarks';
import { type MagicKind, readMagicAhead } from './magicLine';

/** What JupyterLab calls the language of a Python kernel's cells: with IPython's magics, and without. */
const PYTHON = ['text/x-ipython', 'text/x-python'];

const NONE: Extension = [];

/** The extension of one editor. A change of the text brings the change of language in the same transaction, so that neither is drawn alone. */
function following(model: CodeEditor.IModel, languages: CellLanguages): Extension {
  const place = new Compartment();

  const kindOf = (length: number, read: (length: number) => string): MagicKind | null =>
    PYTHON.includes(model.mimeType) ? readMagicAhead(length, read)?.kind ?? null : null;
  const kindOfText = (text: Text): MagicKind | null => kindOf(text.length, size => text.sliceString(0, size));
  const wanted = (kind: MagicKind | null): Extension => (kind ? languages.extension(kind) : NONE);

  class Follower {
    private gone = false;

    constructor(private readonly view: EditorView) {
      model.mimeTypeChanged.connect(this.look, this);
      this.load();
    }

    update(update: ViewUpdate): void {
      if (place.get(update.startState) !== place.get(update.state)) {
        this.load();
      }
    }

    destroy(): void {
      this.gone = true;
      model.mimeTypeChanged.disconnect(this.look, this);
    }

    private load(): void {
      const kind = kindOfText(this.view.state.doc);
      if (kind) {
        void languages.load(kind).then(() => this.look());
      }
    }

    /** Sees to it that the language is the one wanted, also where no text changed. */
    private look(): void {
      if (!this.gone) {
        const extension = wanted(kindOfText(this.view.state.doc));
        if (place.get(this.view.state) !== extension) {
          this.view.dispatch({ effects: place.reconfigure(extension) });
        }
      }
    }
  }

  const withText = EditorState.transactionExtender.of(transaction => {
    if (!transaction.docChanged) {
      return null;
    }
    const extension = wanted(kindOfText(transaction.newDoc));
    return place.get(transaction.startState) === extension ? null : { effects: place.reconfigure(extension) };
  });
  const source = model.sharedModel.getSource();
  const first = wanted(kindOf(source.length, size => source.slice(0, size)));
  return [place.of(first), withText, ViewPlugin.fromClass(Follower)];
}

export const highlighting: JupyterFrontEndPlugin<void> = {
  id: 'gleitzeit-nb:highlighting',
  description: 'Shows the text of %%llm cells as Markdown and that of %%sandbox cells as Python.',
  autoStart: true,
  requires: [IEditorExtensionRegistry, IEditorLanguageRegistry],
  optional: [ITranslator],
  activate: (
    _: JupyterFrontEnd,
    extensions: IEditorExtensionRegistry,
    registry: IEditorLanguageRegistry,
    translator: ITranslator | null
  ): void => {
    const trans = (translator ?? nullTranslator).load('gleitzeit_nb');
    const languages = new CellLanguages(registry, { llm: [PROSE, fieldMarks(trans, true)], sandbox: fieldMarks(trans, false) });
    extensions.addExtension({
      name: 'gleitzeit-nb:cells',
      factory: ({ inline, model }) => (inline ? { instance: () => following(model, languages), reconfigure: () => null } : null)
    });
  }
};
