/** The panel's least width: what its tables look best in, until a person drags it narrower. The page remembers that. */

import type { Widget } from '@lumino/widgets';

const NARROW = 'gz-mod-narrow';
const REMEMBERED = 'gleitzeit-nb:narrow';
const HANDLE = '#jp-main-split-panel > .lm-SplitPanel-handle';
const FULL_PX = 340;

/** Ends with the panel. */
export function letWidthBeDragged(panel: Widget): void {
  panel.toggleClass(NARROW, window.localStorage.getItem(REMEMBERED) !== null);
  const onPress = ({ target }: PointerEvent): void => {
    if (panel.isVisible && target instanceof Element && target.matches(HANDLE)) {
      panel.addClass(NARROW);
      panel.parent?.fit();
      document.addEventListener('pointerup', onRelease, { once: true, capture: true });
    }
  };
  const onRelease = (): void => {
    if (panel.node.clientWidth < FULL_PX) {
      window.localStorage.setItem(REMEMBERED, 'yes');
    } else {
      window.localStorage.removeItem(REMEMBERED);
      panel.removeClass(NARROW);
    }
  };
  document.addEventListener('pointerdown', onPress, true);
  panel.disposed.connect(() => document.removeEventListener('pointerdown', onPress, true));
}
