import { startHttpServer } from '../../environment/http-server.ts';

/** A page whose looks the test decides. */
export interface PaintedSite {
  readonly url: string;
  look: { colour: string; left: number; text: string };
  close(): Promise<void>;
}

export const PLAIN = { colour: '#1d6f42', left: 40, text: 'Three items' } as const;

/** A cart with a button, a clock that never stands still, an animation without end, and a field that has the focus. */
export async function startPaintedSite(): Promise<PaintedSite> {
  const site: Pick<PaintedSite, 'look'> = { look: { ...PLAIN } };
  const server = await startHttpServer((_request, response) => {
    const { colour, left, text } = site.look;
    response.setHeader('Content-Type', 'text/html; charset=utf-8').end(`<!doctype html><title>Cart</title><style>
      body { font: 20px sans-serif; margin: 30px; } #pay { position: relative; left: ${left}px; background: ${colour}; color: white; border: 0; padding: 14px 40px; font: inherit; }
      #clock { width: 300px; background: #eee; } .pulse { width: 60px; height: 60px; background: #c33; animation: pulse 0.7s infinite; } @keyframes pulse { to { transform: rotate(1turn); } }
      </style><h1>Your cart</h1><p>${text}</p><input autofocus aria-label="Voucher"><p><button id="pay">Pay now</button></p><p id="clock" data-testid="clock">0</p><div class="pulse"></div>
      <script>setInterval(() => { clock.textContent = performance.now().toFixed(3); }, 5);</script>`);
  });
  return Object.assign(site, { url: server.url, close: () => server.close() });
}
