from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("django_sse", "0001_stores")]

    operations = [
        migrations.AddField(
            model_name="grouphead",
            name="previous",
            field=models.CharField(db_default="", max_length=32),
        ),
    ]
