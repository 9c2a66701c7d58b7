// One small plot per action dimension: measured, commanded, and what the newest chunk wants.
// The strip on top shows how far each chunk differs from the one before it.
const SPAN_S = 10, AHEAD_S = 2, KEPT = 400;

export default {
  template: `
    <div class="curves">
      <p class="legend">
        <span class="key measured">measured</span> <span class="key commanded">commanded</span>
        <span class="key wanted">wanted by the newest chunk</span>
      </p>
      <figure class="strip">
        <canvas ref="strip" role="img" :aria-label="stripText"></canvas>
        <figcaption>{{ stripText }}</figcaption>
      </figure>
      <div class="plots">
        <figure v-for="(name, place) in names" :key="name">
          <canvas ref="plots" role="img" :aria-label="'last 10 s of ' + name"></canvas>
          <figcaption>{{ name }} <span class="rate">{{ values[place] }}</span></figcaption>
        </figure>
      </div>
    </div>`,
  props: { names: Array },
  data() {
    return { values: this.names.map(() => ""), stripText: "chunks agree: nothing to compare yet" };
  },
  mounted() {
    this.measured = [];
    this.commanded = [];
    this.onCurves = (event) => this.take(event.detail);
    window.addEventListener("console-curves", this.onCurves);
  },
  unmounted() {
    window.removeEventListener("console-curves", this.onCurves);
  },
  methods: {
    take(news) {
      this.measured = joined(this.measured, news.measured);
      this.commanded = joined(this.commanded, news.commanded);
      const visible = this.$el.offsetParent !== null;
      if (!visible || document.hidden) return;
      const newest = Math.max(...[this.measured, this.commanded].map((s) => (s.length ? s[s.length - 1][0] : 0)));
      if (!newest) return;
      this.names.forEach((_, place) => this.draw(place, newest, news.chunk));
      const last = this.measured[this.measured.length - 1] ?? this.commanded[this.commanded.length - 1];
      this.values = this.names.map((_, place) => last?.[1][place]?.toFixed(3) ?? "");
      this.drawStrip(news.strip, newest);
    },
    draw(place, newest, chunk) {
      const canvas = this.$refs.plots[place];
      const pen = prepared(canvas);
      const x = (t) => ((t - newest + SPAN_S) / (SPAN_S + AHEAD_S)) * canvas.clientWidth;
      const series = [
        ["--measured", [], this.measured],
        ["--commanded", [2, 2], this.commanded],
        ["--wanted", [6, 3], chunk ? chunk.rows.map((row, k) => [chunk.start + k / chunk.rate, row]) : []],
      ];
      const shown = series.map(([color, dash, points]) => [
        color,
        dash,
        points.map(([t, row]) => [t, row[place]]).filter(([t, v]) => v !== null && v !== undefined && t > newest - SPAN_S),
      ]);
      const all = shown.flatMap(([, , points]) => points.map(([, v]) => v));
      if (!all.length) return;
      const [low, high] = spread(Math.min(...all), Math.max(...all));
      const y = (v) => canvas.clientHeight - 3 - ((v - low) / (high - low)) * (canvas.clientHeight - 6);
      const style = getComputedStyle(this.$el);
      pen.strokeStyle = style.getPropertyValue("--line");
      pen.lineWidth = 1;
      line(pen, [[x(newest), 0], [x(newest), canvas.clientHeight]]);
      for (const [color, dash, points] of shown) {
        pen.strokeStyle = style.getPropertyValue(color);
        pen.setLineDash(dash);
        pen.lineWidth = 2;
        line(pen, points.map(([t, v]) => [x(t), y(v)]));
      }
      pen.setLineDash([]);
    },
    drawStrip(strip, newest) {
      const canvas = this.$refs.strip;
      const pen = prepared(canvas);
      const known = strip.filter(([t, v]) => v !== null && t > newest - SPAN_S);
      const style = getComputedStyle(this.$el);
      for (const [t, value] of known) {
        const left = ((t - newest + SPAN_S) / (SPAN_S + AHEAD_S)) * canvas.clientWidth;
        const height = Math.max(2, Math.min(1, value) * canvas.clientHeight);
        pen.fillStyle = style.getPropertyValue(value > 0.5 ? "--warn" : "--wanted");
        pen.fillRect(left, canvas.clientHeight - height, 6, height);
      }
      const last = known.length ? known[known.length - 1][1] : null;
      this.stripText =
        last === null
          ? "chunks agree: nothing to compare yet"
          : `newest chunk differs from the one before by ${last.toFixed(2)} rows at full speed`;
    },
  },
};

function joined(before, news) {
  if (!news.length) return before;
  if (before.length && news[news.length - 1][0] < before[before.length - 1][0] - 1) before = []; // time began anew
  const last = before.length ? before[before.length - 1][0] : -Infinity;
  return [...before, ...news.filter(([t]) => t > last + 1e-6)].slice(-KEPT);
}

function spread(low, high) {
  const margin = Math.max((high - low) * 0.08, 0.005);
  return [low - margin, high + margin];
}

function prepared(canvas) {
  const scale = window.devicePixelRatio || 1;
  const [width, height] = [Math.round(canvas.clientWidth * scale), Math.round(canvas.clientHeight * scale)];
  if (canvas.width !== width) canvas.width = width;
  if (canvas.height !== height) canvas.height = height;
  const pen = canvas.getContext("2d");
  pen.setTransform(scale, 0, 0, scale, 0, 0);
  pen.clearRect(0, 0, width, height);
  return pen;
}

function line(pen, points) {
  if (!points.length) return;
  pen.beginPath();
  points.forEach(([x, y], k) => (k ? pen.lineTo(x, y) : pen.moveTo(x, y)));
  pen.stroke();
}
