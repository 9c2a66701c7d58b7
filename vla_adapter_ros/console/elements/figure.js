// The robot as bones, seen from a point that can be dragged around, and the way that its tool would go.
export default {
  template: `
    <figure class="figure">
      <canvas ref="canvas" role="img" :aria-label="text" tabindex="0"
        @pointerdown="grab" @pointermove="drag" @pointerup="held = null" @pointercancel="held = null" @keydown="turn"></canvas>
      <figcaption>{{ text }}</figcaption>
    </figure>`,
  data() {
    return { text: "robot: no URDF is known" };
  },
  mounted() {
    [this.azimuth, this.elevation, this.held] = [-0.9, 0.45, null];
    this.onCurves = (event) => {
      if (!event.detail.figure) return;
      this.newest = event.detail.figure;
      this.draw();
    };
    window.addEventListener("console-curves", this.onCurves);
  },
  unmounted() {
    window.removeEventListener("console-curves", this.onCurves);
  },
  methods: {
    grab(event) {
      this.held = [event.clientX, event.clientY];
      event.target.setPointerCapture(event.pointerId);
    },
    drag(event) {
      if (!this.held) return;
      this.look((event.clientX - this.held[0]) * 0.01, (event.clientY - this.held[1]) * 0.01);
      this.held = [event.clientX, event.clientY];
    },
    turn(event) {
      const step = { ArrowLeft: [-0.1, 0], ArrowRight: [0.1, 0], ArrowUp: [0, 0.1], ArrowDown: [0, -0.1] }[event.key];
      if (!step) return;
      event.preventDefault();
      this.look(...step);
    },
    look(sideways, upwards) {
      this.azimuth -= sideways;
      this.elevation = Math.max(-1.4, Math.min(1.4, this.elevation + upwards));
      this.draw();
    },
    draw() {
      const canvas = this.$refs.canvas;
      if (!this.newest || !canvas || canvas.offsetParent === null) return;
      const { bones, path } = this.newest;
      const scale = window.devicePixelRatio || 1;
      canvas.width = canvas.clientWidth * scale;
      canvas.height = canvas.clientHeight * scale;
      const pen = canvas.getContext("2d");
      pen.scale(scale, scale);
      const reach = Math.max(0.5, ...bones.flat().map(Math.abs));
      const zoom = (0.45 * Math.min(canvas.clientWidth, canvas.clientHeight)) / reach;
      const [ca, sa, ce, se] = [Math.cos(this.azimuth), Math.sin(this.azimuth), Math.cos(this.elevation), Math.sin(this.elevation)];
      const place = ([x, y, z]) => [
        canvas.clientWidth / 2 + zoom * (-sa * x + ca * y),
        canvas.clientHeight * 0.72 - zoom * (ce * z - se * (ca * x + sa * y)),
      ];
      const style = getComputedStyle(this.$el);
      const line = (points, color, width, dash = []) => {
        pen.strokeStyle = style.getPropertyValue(color);
        pen.lineWidth = width;
        pen.lineCap = "round";
        pen.setLineDash(dash);
        pen.beginPath();
        points.map(place).forEach(([x, y], k) => (k ? pen.lineTo(x, y) : pen.moveTo(x, y)));
        pen.stroke();
      };
      for (let k = -4; k <= 4; k++) {
        const r = (k * reach) / 4;
        line([[r, -reach, 0], [r, reach, 0]], "--line", 1);
        line([[-reach, r, 0], [reach, r, 0]], "--line", 1);
      }
      line([[0, 0, 0], [reach / 4, 0, 0]], "--ink", 2);
      for (const bone of bones) line([bone.slice(0, 3), bone.slice(3)], "--measured", 6);
      if (path.length) line(path, "--wanted", 3, [6, 4]);
      this.text = path.length ? "robot, and the way that its tool would go (drag to turn)" : "robot (drag to turn)";
    },
  },
};
